"""The worker: claim a job, run it, publish it, until nothing is left. The only execution path."""

import resource
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from dpbench.errors import NoResult, UserError
from dpbench.faults import is_fault
from dpbench.jobs.claims import Claims
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job, Output
from dpbench.jobs.job_log import JobLog
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.quarantine import Quarantine
from dpbench.jobs.store import Failure, Store

# How long a worker sleeps when all ready jobs are claimed by others: long enough that looking
# through the store is a small part of it.
_IDLE_SECONDS, _IDLE_SHARE = 0.1, 10


class Worker:
    """Runs jobs and publishes what they return.

    Args:
        store: Where inputs are read and results are published.
        device: Torch device on which jobs compute.
        facts: What each record says beside its measured cost, such as versions of libraries.
    """

    def __init__(
        self, store: Store, *, device: str = "cpu", facts: Mapping[str, Any] | None = None
    ) -> None:
        self._store, self._device, self._facts = store, device, facts or {}
        self._claims = Claims(store.root / "claims", vanished=Quarantine(store).vanished)
        self._log = JobLog(store.root / "logs")

    def work(self, states: JobStates[Job], *, stop: Callable[[], bool] = lambda: False) -> None:
        """Runs open jobs until none is left, or `stop()` says so between two jobs."""
        while not stop():
            started = time.monotonic()
            states.refresh()
            looked = time.monotonic() - started
            todo = states.open
            if not todo:
                return
            ran = False
            for job in todo:
                if stop():
                    return
                if states.is_ready(job):
                    ran |= self._take(job, states)
            if not ran:
                time.sleep(max(_IDLE_SECONDS, _IDLE_SHARE * looked))

    def _take(self, job: Job, states: JobStates[Job]) -> bool:
        """Runs a job unless it is settled or another worker is on it; tells whether it ran."""
        if states.settle(job.key):
            return False
        with self._claims.holding(job.key) as mine:
            # Another worker may have settled it, and taking over a dead one's claim may have, too.
            if not mine or states.settle(job.key):
                return False
            self.attempt(job)
        states.settle(job.key)
        return True

    def attempt(self, job: Job) -> None:
        """Runs one job and publishes its result, or the reason why there is none.

        Raises:
            OSError: The disk is full, say; the job is as open as before.
        """
        store, device = self._store, self._device
        start = time.perf_counter()
        resumed = store.partial(job.key).is_dir()
        facts = {"kind": job.kind, "label": job.label, "device": device, "resumed": resumed}
        self._log.add(job.key, "started", **facts)
        result = _result(job, Inputs(job, store, device=device))
        seconds = time.perf_counter() - start
        if isinstance(result, Failure):
            store.fail(job.key, result)
            store.forget_partial(job.key)
            self._log.add(job.key, "failed", seconds=seconds, **result._asdict())
            return
        measured = {
            "seconds": seconds,
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "device": device,
            **self._facts,
        }
        record = {"kind": job.kind, "label": job.label, "measured": measured}
        store.publish(job.key, record | dict(result.record), result.arrays)
        store.forget_partial(job.key)
        self._log.add(job.key, "finished", **measured)


def _result(job: Job, inputs: Inputs) -> Output | Failure:
    try:
        return job.run(inputs)
    except NoResult as error:
        return Failure(error.status, str(error))
    except UserError as error:
        return Failure("failed", str(error))
    except Exception as error:
        if is_fault(error):
            raise
        return Failure("failed", f"{type(error).__name__}: {error}", traceback.format_exc())
