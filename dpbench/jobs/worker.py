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

# How long a worker sleeps when other workers hold all ready jobs: at least ten times as long as it
# takes to read the store, so that idle workers do not slow down the file system.
_IDLE_SECONDS, _IDLE_SHARE = 0.1, 10


class Worker:
    """Runs jobs and publishes what they return.

    Args:
        store: Where inputs are read and results are published.
        device: Torch device on which jobs compute.
        facts: Added to each record beside the measured cost, such as versions of libraries.
    """

    def __init__(
        self, store: Store, *, device: str = "cpu", facts: Mapping[str, Any] | None = None
    ) -> None:
        self._store, self._device, self._facts = store, device, facts or {}
        self._claims = Claims(store.root / "claims", vanished=Quarantine(store).vanished)
        self._log = JobLog(store.root / "logs")

    def work(self, states: JobStates[Job], *, stop: Callable[[], bool] = lambda: False) -> None:
        """Runs open jobs until none is left, or until `stop()` returns True between two jobs."""
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
        """Runs a job unless it is settled or another worker runs it; tells whether it ran."""
        if states.settle(job.key):
            return False
        with self._claims.holding(job.key) as mine:
            # Another worker may have finished the job since. And taking over a dead worker's claim
            # notes a death, which may have failed the job.
            if not mine or states.settle(job.key):
                return False
            self.attempt(job)
        states.settle(job.key)
        return True

    def attempt(self, job: Job) -> None:
        """Runs one job and publishes its result, or the reason why it has none.

        Raises:
            OSError: The machine is at fault, such as a full disk; the job stays open.
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
        # Only now: until the result is published, a kill must leave the state to resume from.
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
        # Failures are final until they are retried by hand, so a full disk must not become one.
        if is_fault(error):
            raise
        return Failure("failed", f"{type(error).__name__}: {error}", traceback.format_exc())
