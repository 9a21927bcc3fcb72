"""The interface of executors, which start workers and watch them (decision 12)."""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from dpbench.component import Settings
from dpbench.errors import UserError
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.worker_config import WorkerConfig

_POLL_SECONDS, _POLL_SHARE = 0.5, 30

Report = Callable[[JobStates[Any]], None]
"""Called with the states from time to time; an exception from it stops the workers."""


class Workers(ABC):
    """Workers that have been started."""

    @abstractmethod
    def keep_alive(self, states: JobStates[Any]) -> bool:
        """Replaces workers that are lost while jobs are open; False when all have ended for good.

        Raises:
            UserError: Workers end before they finish a job.
        """

    @abstractmethod
    def stop(self) -> None:
        """Ends all workers; the next run repeats the work that they had not published."""


class Executor(Settings, ABC):
    """A way to start workers. It is a frozen dataclass whose fields are what the user may set."""

    name: ClassVar[str]

    @property
    @abstractmethod
    def here(self) -> bool:
        """Whether all workers run on this machine."""

    @abstractmethod
    def require(self) -> None:
        """Checks that workers can be started, before anything is computed.

        Raises:
            UserError: Something is missing, or options contradict each other.
        """

    @abstractmethod
    def start(self, config: WorkerConfig) -> Workers:
        """Starts workers on a run whose folder exists.

        Raises:
            UserError: They cannot be started as asked.
        """


class Patience:
    """Limits how many workers may be lost in a row without a finished job: twice their number.

    Args:
        workers: How many there are.
    """

    def __init__(self, workers: int) -> None:
        self._most, self._lost, self._done = 2 * workers, 0, 0

    def lose(
        self, count: int, states: JobStates[Any], why: Callable[[], tuple[str, object]]
    ) -> None:
        """Notes lost workers; `why` returns their last output and their log.

        Raises:
            UserError: Too many in a row.
        """
        # Any progress clears the count: on a long run, single losses are normal.
        done = len(states.jobs) - len(states.open)
        self._lost = count + (self._lost if done == self._done else 0)
        self._done = done
        if self._lost > self._most:
            words, log = why()
            raise UserError(
                f"workers end before they finish a job: {words or 'silently'}",
                next_step=f"see {log}",
            )


def supervise(workers: Workers, states: JobStates[Any], report: Report) -> None:
    """Waits until no job is open, reporting progress; stops all workers on the way out.

    Raises:
        UserError: Workers end before they finish a job.
    """
    try:
        while True:
            started = time.monotonic()
            # Workers are counted before the store is read: one that ends because nothing is left
            # has then left nothing open.
            working = workers.keep_alive(states)
            states.refresh()
            report(states)
            if not states.open or not working:
                return
            # Reading the states of ten thousand jobs takes time from a core that a worker needs.
            time.sleep(max(_POLL_SECONDS, _POLL_SHARE * (time.monotonic() - started)))
    finally:
        workers.stop()
