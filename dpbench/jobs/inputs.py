"""What a running job may use: the results of its declared inputs, and its device."""

from collections.abc import Callable, Hashable, Iterable
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from dpbench.jobs.array_file import SpooledRows
from dpbench.jobs.job import Job
from dpbench.jobs.store import Arrays, Store


class Inputs:
    """Gives a job the results that it may read, and nothing else in the store.

    Args:
        job: The job. It may read its inputs, their inputs, and its own result once it is finished.
        store: Where results are.
        device: Torch device on which the job computes.
    """

    def __init__(self, job: Job, store: Store, *, device: str = "cpu") -> None:
        self.device = device
        self._job, self._store = job, store

    @property
    def partial(self) -> Path:
        """Where the job saves its state, to resume from it after a kill."""
        return self._store.partial(self._job.key)

    def has(self, job: Job) -> bool:
        """Tells whether a declared job has a result; all have one unless this job is tolerant."""
        return self._store.has(self._declared(job))

    def record(self, job: Job) -> dict[str, Any]:
        """Returns the record of a declared job's result."""
        return self._store.record(self._declared(job))

    def array(self, job: Job, name: str) -> NDArray[Any]:
        """Returns one array of a declared job's result."""
        return self._store.array(self._declared(job), name)

    def arrays(self, job: Job) -> Arrays:
        """Returns all arrays of a declared job's result."""
        return self._store.arrays(self._declared(job))

    def rows(self, job: Job, name: str, first: int, stop: int) -> NDArray[Any]:
        """Returns some rows of one array of a declared job's result."""
        return self._store.rows(self._declared(job), name, first, stop)

    def kept(self, jobs: Iterable[Job], prefix: str) -> tuple[Arrays, ...]:
        """Returns the arrays of several results whose names begin with a prefix, without it.

        The last answer stays in memory: all attacks on a cell ask for the same weights.
        """
        return _kept(self._store, tuple(self._declared(job) for job in jobs), prefix)

    def remembered(self, name: Hashable, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Returns what an earlier job of this process made under a name, or makes it.

        A few arrays are remembered. The name must say everything that they depend on.
        """
        return self._store.remembered(name, make)

    def new_rows(self) -> SpooledRows:
        """Returns an array for the output that is built some rows at a time."""
        return self._store.rows_of()

    def _declared(self, job: Job) -> str:
        # An undeclared input is not part of the key: the job would keep its result when it changes.
        if job.key not in self._readable:
            raise LookupError(f"'{self._job.label}' reads '{job.label}' without declaring it")
        return job.key

    @cached_property
    def _readable(self) -> set[str]:
        found, left = {self._job.key}, list(self._job.inputs)
        while left:
            job = left.pop()
            if job.key not in found:
                found.add(job.key)
                left.extend(job.inputs)
        return found


# One entry only: the weights of one cell may fill gigabytes.
@lru_cache(maxsize=1)
def _kept(store: Store, keys: tuple[str, ...], prefix: str) -> tuple[Arrays, ...]:
    return tuple(store.arrays(key, prefix) for key in keys)
