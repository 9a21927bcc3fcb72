"""How workers are started, for all executors."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a job. When it exceeds one, its worker is stopped and the job fails.

    Attributes:
        seconds: Wall time.
        memory_gb: Resident memory of its worker, in units of 2^30 bytes. It is checked about twice
            a second, on Linux only.
    """

    seconds: float | None = None
    memory_gb: float | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """Workers on one run. Paths are absolute, since workers may start in another folder.

    Attributes:
        program: Arguments of the Python interpreter that start a worker. The next argument is the
            run's folder, from which the worker makes the plan.
        folder: The run's folder.
        workers: How many.
        device: cpu, or cuda, where workers take turns on the GPUs.
        data_dir: Folder of downloaded sets.
        limits: Limits of each job.
        plugins: Paths of the grid's plugins on this machine, where they differ.
        first: The number of the first worker, for taking turns on GPUs.
    """

    program: tuple[str, ...]
    folder: Path
    workers: int
    device: str = "cpu"
    data_dir: Path | None = None
    limits: Limits = NO_LIMITS
    plugins: tuple[Path, ...] = ()
    first: int = 0
