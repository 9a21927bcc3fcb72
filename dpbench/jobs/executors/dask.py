"""Runs workers as long tasks of an existing or a local dask cluster."""

import contextlib
import importlib.util
import signal
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

from dpbench.errors import UserError
from dpbench.jobs.executors.base import Executor, Patience, Workers, supervise
from dpbench.jobs.executors.local import Pool
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.listing import read_listing
from dpbench.jobs.store import Store
from dpbench.jobs.worker_config import WorkerConfig

_CONNECT_SECONDS = 30
# How long tasks may take to stop their workers: twice the grace period of a worker.
_GRACE_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Dask(Executor):
    """Tasks of dask.distributed with one worker each.

    Dask restarts a task when its dask worker is lost.

    Attributes:
        address: The scheduler's, such as tcp://host:8786.
        scheduler_file: The file in which the scheduler writes its address.
        resources: What a task needs of a dask worker, by the names given when that was started.
    """

    name: ClassVar[str] = "dask"

    address: str | None = None
    scheduler_file: str | None = None
    resources: Mapping[str, float] = field(default_factory=dict)

    @property
    def here(self) -> bool:
        """True unless the user names a cluster."""
        return self.address is None and self.scheduler_file is None

    def require(self) -> None:
        """Requires dask.distributed, and at most one named cluster."""
        if importlib.util.find_spec("distributed") is None:
            raise UserError(
                "--executor dask needs dask.distributed",
                next_step="pip install 'dp-defense-bench[dask]'",
            )
        if self.address is not None and self.scheduler_file is not None:
            raise UserError(
                "--executor dask: address and scheduler_file are both given",
                allowed="one of them, or none for a cluster of this machine",
            )
        if self.scheduler_file is not None and not Path(self.scheduler_file).is_file():
            raise UserError(
                f"--executor dask: scheduler_file {self.scheduler_file}: no such file",
                next_step=f"start one: dask scheduler --scheduler-file {self.scheduler_file}",
            )
        if self.here and self.resources:
            raise UserError(
                f"--executor dask: resources {dict(self.resources)}, but no cluster that has them",
                next_step="give address or scheduler_file",
            )

    def start(self, config: WorkerConfig) -> Workers:
        """Submits `config.workers` tasks."""
        return _Tasks(self, config)


class _StopRequested(Exception):
    """Raised in a task that is told to stop."""


def watch_worker(config: WorkerConfig, stop_event: str) -> None:
    """Watches one worker, as `dpbench worker` does, until a dask event of that name is set."""
    from distributed import Event

    event = Event(stop_event)

    def listen(states: JobStates[Any]) -> None:
        if event.is_set():
            raise _StopRequested

    states: JobStates[Any] = JobStates(read_listing(config.folder), Store.of(config.folder))
    try:
        if states.open:
            supervise(Pool(config), states, listen)
    except _StopRequested:
        return


class _Tasks(Workers):
    """The tasks of a run on a dask cluster."""

    def __init__(self, executor: Dask, config: WorkerConfig) -> None:
        from distributed import Event

        self._executor, self._config = executor, config
        self._patience = Patience(config.workers)
        self._stop_event = f"dpbench-{uuid.uuid4().hex}"
        self._client, self._cluster = _connect(executor, config.workers)
        self._event = Event(self._stop_event, client=self._client)
        self._futures = [self._submit(number) for number in range(config.workers)]

    def keep_alive(self, states: JobStates[Any]) -> bool:
        """Resubmits tasks that ended too early; dask restarts those of lost workers itself.

        Raises:
            UserError: Tasks end before they finish a job, or the scheduler is gone.
        """
        if self._client.status == "closed":
            raise UserError(
                "--executor dask: the scheduler is gone",
                next_step="start the cluster again and rerun the same command to resume",
            )
        ended = [number for number, future in enumerate(self._futures) if future.done()]
        if ended:
            states.refresh()  # tasks that end because nothing is left have left nothing open
            if states.open:
                self._patience.lose(len(ended), states, lambda: self._last_words(ended[0]))
                for number in ended:
                    self._futures[number] = self._submit(number)
        return True

    def stop(self) -> None:
        """Sets the stop event, waits briefly, and leaves the cluster; ends a local one."""
        from distributed import wait

        if self._client.status == "running":  # a lost scheduler has lost its tasks, too
            with contextlib.suppress(OSError, TimeoutError):
                self._event.set()
                wait(self._futures, timeout=_GRACE_SECONDS)
        self._client.close()
        if self._cluster is not None:
            self._cluster.close()

    def _submit(self, number: int) -> Any:
        config = replace(self._config, workers=1, first=number)
        # Dask takes calls with equal arguments for one task unless their keys differ.
        key = f"dpbench-{uuid.uuid4().hex}"
        resources = dict(self._executor.resources) or None
        return self._client.submit(
            watch_worker, config, self._stop_event, key=key, resources=resources
        )

    def _last_words(self, number: int) -> tuple[str, str]:
        future = self._futures[number]
        error = future.exception() if future.status == "error" else None
        words = f"{type(error).__name__}: {error}" if error else f"a task was {future.status}"
        return words, "the logs of the dask workers"


def _connect(executor: Dask, workers: int) -> tuple[Any, Any]:
    """Returns a client, and the cluster if it is local."""
    from distributed import Client, LocalCluster

    if executor.here:
        with _deaf_to_ctrl_c():
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
        return Client(cluster), cluster
    try:
        client = Client(
            executor.address, scheduler_file=executor.scheduler_file, timeout=_CONNECT_SECONDS
        )
    except (OSError, ValueError) as error:
        named = executor.address or executor.scheduler_file
        raise UserError(
            f"--executor dask: no scheduler at {named} ({error})",
            next_step="start one: dask scheduler; then dask worker ADDRESS on each machine",
        ) from None
    return client, None


@contextlib.contextmanager
def _deaf_to_ctrl_c() -> Iterator[None]:
    """Makes processes that are started inside ignore Ctrl-C, which this process handles."""
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
