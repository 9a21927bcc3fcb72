"""How workers are started, under every executor."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a job may take before its worker is stopped and it fails.

    Attributes:
        seconds: By the clock.
        memory_gb: Resident memory of its worker, in units of 2^30 bytes. It is looked at about
            twice a second, on Linux only.
    """

    seconds: float | None = None
    memory_gb: float | None = None


NO_LIMITS = Limits()


@dataclass(frozen=True, kw_only=True)
class WorkerConfig:
    """Workers on one run. Paths are absolute, so that they mean the same wherever a worker starts.

    Attributes:
        program: Arguments of the Python interpreter that start a worker; it makes the plan of the
            run in the folder that is the next argument.
        folder: The run's folder.
        workers: How many.
        device: cpu, or cuda: then each worker has one GPU, in turn.
        data_dir: Folder of downloaded sets.
        limits: What a job may take.
        plugins: Where the grid's plugins are on this machine, if they are elsewhere.
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
