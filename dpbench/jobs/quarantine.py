"""Fails jobs that kill their workers, so that they are not retried for ever."""

import json
from contextlib import suppress

from dpbench.jobs.claims import Claim
from dpbench.jobs.job_log import JobLog
from dpbench.jobs.store import Failure, Store

# A worker that dies while its watcher lives was most likely killed by its job: two such deaths fail
# the job. If the watcher vanished too, the machine may have been switched off: that counts half.
_WATCHED, _UNWATCHED, _MOST = 2, 1, 4


class Quarantine:
    """Counts the deaths of workers by job, for all machines on a store together."""

    def __init__(self, store: Store) -> None:
        self._store, self._folder = store, store.root / "deaths"
        self._log = JobLog(store.root / "logs")

    def died(self, claim: Claim, reason: str) -> None:
        """Notes that a worker died on a job, as its watcher saw."""
        self._note(claim, reason, _WATCHED)

    def vanished(self, claim: Claim) -> None:
        """Notes that a worker vanished for an unknown reason."""
        self._note(claim, f"process {claim.pid} on {claim.host} vanished", _UNWATCHED)

    def forget(self, key: str) -> None:
        """Deletes the notes about a job."""
        for path in self._folder.glob(f"{key}.*"):
            path.unlink(missing_ok=True)

    def _note(self, claim: Claim, reason: str, weight: int) -> None:
        # One note per claim: several processes may notice the same death.
        path = self._folder / f"{claim.key}.{claim.token}"
        with suppress(FileExistsError), path.open("x", encoding="utf-8") as file:
            json.dump({"reason": reason, "weight": weight}, file)
            self._log.add(claim.key, "died", reason=reason, worker=claim.pid, on=claim.host)
        self._judge(claim.key)

    def _judge(self, key: str) -> None:
        notes = []
        for path in sorted(self._folder.glob(f"{key}.*")):
            with suppress(OSError, ValueError):  # being written by another process
                notes.append(json.loads(path.read_text(encoding="utf-8")))
        # A worker may also die just after it has published.
        if sum(note["weight"] for note in notes) < _MOST or self._store.has(key):
            return
        times = "twice" if len(notes) == 2 else f"{len(notes)} times"
        reasons = "; ".join(dict.fromkeys(note["reason"] for note in notes))
        reason = f"the worker died {times} ({reasons})"
        self._store.fail(key, Failure("failed", reason))
        self._log.add(key, "failed", reason=reason)
