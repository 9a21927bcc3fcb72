"""Options shared by commands that run a grid."""

from dataclasses import dataclass

from dpbench.errors import UserError
from dpbench.jobs.executors import Executor
from dpbench.jobs.gpus import require_known_device
from dpbench.jobs.worker_config import Limits
from dpbench.progress import Form
from dpbench.study.device import require_device
from dpbench.study.executor_option import parse_executor


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a grid is run.

    Attributes:
        workers: How many; None takes one for each core of this machine.
        device: cpu or cuda.
        executor: Who starts them.
        limits: What a job may take before it is stopped and fails.
        retry_failed: Failures are forgotten first.
        progress: How progress is shown.
    """

    workers: int | None
    device: str
    executor: Executor
    limits: Limits
    retry_failed: bool
    progress: Form


def run_options(
    *,
    workers: int | None,
    device: str,
    executor: str = "local",
    job_timeout: float | None = None,
    memory_limit: float | None = None,
    retry_failed: bool = False,
    progress: Form = "text",
) -> RunOptions:
    """Returns what the options of a command say, before anything is computed.

    Raises:
        UserError: The executor cannot start workers as asked, or the options do not go together.
    """
    return RunOptions(
        workers=workers,
        device=device,
        executor=_starter(executor, workers=workers, device=device),
        limits=Limits(seconds=job_timeout, memory_gb=memory_limit),
        retry_failed=retry_failed,
        progress=progress,
    )


def _starter(text: str, *, workers: int | None, device: str) -> Executor:
    executor = parse_executor(text)
    executor.require()
    if executor.here:
        require_device(device)
        return executor
    # A machine that only submits need not have the device.
    require_known_device(device)
    if workers is None:
        raise UserError(
            f"-j is missing: --executor {executor.name} needs the number of workers",
            next_step="-j 16, say: as many as may work at once",
        )
    return executor
