"""The state of every job of a plan: finished, failed, blocked by a failure, or open."""

from collections.abc import Iterable, Mapping, Set
from typing import Generic, Protocol, TypeVar

from dpbench.jobs.store import Store


class PlannedJob(Protocol):
    """What `JobStates` reads of a job."""

    @property
    def key(self) -> str:
        """Its key."""

    @property
    def kind(self) -> str:
        """Its kind."""

    @property
    def label(self) -> str:
        """What the job does, for people."""

    @property
    def parents(self) -> tuple[str, ...]:
        """Keys of the jobs whose results it reads."""

    @property
    def seconds(self) -> float:
        """Its nominal cost."""

    @property
    def tolerant(self) -> bool:
        """Whether it runs without the parents that failed."""


_J = TypeVar("_J", bound=PlannedJob)


class JobStates(Generic[_J]):
    """Follows a plan's jobs in a store that others may write to at the same time."""

    def __init__(self, jobs: Mapping[str, _J], store: Store) -> None:
        self.jobs, self._store = jobs, store
        self.finished: set[str] = set()
        self.failed: set[str] = set()
        self.blocked: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Reads the store, and blocks the jobs that depend on a failed one."""
        self.finished = self._store.finished(known=self.finished) & self.jobs.keys()
        # A job may have failed on one machine and succeeded on another, or on retry: results win.
        self.failed = (self._store.failures() & self.jobs.keys()) - self.finished
        self.blocked = blocked_by(self.failed, self.jobs.values()) - self.finished

    def settle(self, key: str) -> bool:
        """Looks the job up in the store; tells whether it has a result or a failure."""
        if key not in self.finished and self._store.has(key):
            self.finished.add(key)
        elif key not in self.failed and self._store.has_failed(key):
            self.failed.add(key)
        return key in self.finished or key in self.failed

    @property
    def open(self) -> list[_J]:
        """Jobs that remain to be done, parents before children."""
        closed = self.finished | self.failed | self.blocked
        return [job for job in self.jobs.values() if job.key not in closed]

    def is_ready(self, job: _J) -> bool:
        """Tells whether all parents finished; for a tolerant job, one finished and all settled."""
        if not job.tolerant:
            return self.finished.issuperset(job.parents)
        settled = (self.finished, self.failed, self.blocked)
        if not all(any(parent in keys for keys in settled) for parent in job.parents):
            return False
        # With no result to read, the job is blocked; the next refresh marks it.
        return not self.finished.isdisjoint(job.parents)


def blocked_by(failed: Set[str], jobs: Iterable[PlannedJob]) -> set[str]:
    """Returns the keys of the jobs, parents before children, that a failure leaves without input.

    A tolerant job is blocked when all its parents are lost, any other when one is.
    """
    lost = set(failed)
    for job in jobs:
        gone = lost.intersection(job.parents)
        if gone and (not job.tolerant or len(gone) == len(job.parents)):
            lost.add(job.key)
    return lost - failed
