"""What workers are told, whoever starts them."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Workers on one run. Paths are absolute, so that they mean the same wherever a worker starts.

    Attributes:
        folder: The run's folder.
        workers: How many.
        device: cpu, or cuda: then each worker has one GPU, in turn.
        data_dir: Folder of downloaded sets.
        job_timeout: Seconds after which a job is stopped and fails.
        plugins: Where the grid's plugins are on this machine, if they are elsewhere.
        first: The number of the first worker, for taking turns on GPUs.
    """

    folder: Path
    workers: int
    device: str = "cpu"
    data_dir: Path | None = None
    job_timeout: float | None = None
    plugins: tuple[Path, ...] = ()
    first: int = 0
