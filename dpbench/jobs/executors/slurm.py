"""Runs workers as Slurm tasks, submitted through submitit."""

import importlib.util
import re
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dpbench.errors import UserError
from dpbench.jobs.executors.base import Executor, Patience, Workers, supervise
from dpbench.jobs.executors.local import Pool
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.listing import read_listing
from dpbench.jobs.stopping import ignore_from_now_on, stop_when_told
from dpbench.jobs.store import Store
from dpbench.jobs.worker_config import WorkerConfig

# Each query of the queue loads the controller. Mistakes show soon after a submission, so the
# interval grows with its age, from 1 to 30 seconds.
_LOOK_SECONDS, _LOOK_SHARE = (1.0, 30.0), 0.1
_PROGRAMS = ("sbatch", "srun", "squeue", "scancel", "scontrol")
_LAST_LINES, _MOST_BYTES = 5, 10_000
_MINUTES_PER_DAY = 1440


@dataclass(frozen=True, kw_only=True)
class Slurm(Executor):
    """An array of tasks with one worker each.

    A task that is preempted, that reaches its time limit or whose node fails is requeued. A task
    that is lost otherwise is submitted again.

    Attributes:
        partition: The site's default if left out.
        account: Charged account.
        qos: Quality of service.
        time: Minutes after which a task is stopped and requeued.
        memory_gb: For each worker.
        gpus: For each worker; by default one with `--device cuda`, else none.
        sbatch: Other options of sbatch, by their long names.
    """

    name: ClassVar[str] = "slurm"

    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    time: Annotated[int, Field(ge=5)] = _MINUTES_PER_DAY
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    gpus: Annotated[int, Field(ge=0)] | None = None
    sbatch: Mapping[str, str | int | bool] = field(default_factory=dict)

    @property
    def here(self) -> bool:
        """False: workers run on the nodes."""
        return False

    def require(self) -> None:
        """Requires submitit and the programs of Slurm."""
        if importlib.util.find_spec("submitit") is None:
            raise UserError(
                "--executor slurm needs submitit",
                next_step="pip install 'dp-defense-bench[slurm]'",
            )
        missing = [program for program in _PROGRAMS if shutil.which(program) is None]
        if missing:
            raise UserError(
                f"--executor slurm: {', '.join(missing)} not found",
                next_step="run this on a machine that submits to Slurm, or leave --executor out",
            )

    def start(self, config: WorkerConfig) -> Workers:
        """Submits an array of `config.workers` tasks."""
        return _Tasks(self, config)

    def parameters(self, config: WorkerConfig) -> dict[str, Any]:
        """Returns submitit's parameters."""
        gpus = self.gpus if self.gpus is not None else int(config.device == "cuda")
        chosen = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "mem": f"{self.memory_gb * 1024:.0f}M" if self.memory_gb else None,
            "gpus_per_node": gpus or None,
        }
        more = {name.replace("-", "_"): value for name, value in self.sbatch.items()}
        return {
            "job_name": f"dpbench-{config.folder.name}",
            "time": self.time,
            "cpus_per_task": 1,
            "array_parallelism": config.workers,
            "stderr_to_stdout": True,
            "additional_parameters": {"requeue": True} | more,
            **{name: value for name, value in chosen.items() if value is not None},
        }


@dataclass(frozen=True, kw_only=True)
class WatchWorker:
    """The callable of a Slurm task: it watches one worker, as `dpbench worker` does.

    Submitit calls it, and requeues it at SIGUSR2, which Slurm sends shortly before the time limit.
    """

    config: WorkerConfig

    def __call__(self) -> None:
        """Watches the worker until no job is left."""
        # Submitit's handler of SIGUSR2 requeues the task; `stop_when_told` would replace it.
        again = signal.getsignal(signal.SIGUSR2)
        stop_when_told()
        signal.signal(signal.SIGUSR2, again)
        folder = self.config.folder
        states: JobStates[Any] = JobStates(read_listing(folder), Store.of(folder))
        try:
            if states.open:
                supervise(Pool(self.config), states, lambda states: None)
        except UserError as error:
            raise SystemExit(f"error: {error}") from None
        except KeyboardInterrupt:
            raise SystemExit("stopped") from None

    def checkpoint(self) -> Any:
        """Returns the callable to requeue: this one."""
        from submitit.helpers import DelayedSubmission

        ignore_from_now_on()
        return DelayedSubmission(self)


class _Tasks(Workers):
    """The tasks of a run in Slurm's queue, waiting or running."""

    def __init__(self, executor: Slurm, config: WorkerConfig) -> None:
        self._executor, self._config = executor, config
        self._folder = config.folder / "slurm"
        self._patience = Patience(config.workers)
        self._arrays: list[str] = []
        self._submitted = self._looked = 0.0
        self._submit(config.workers)

    def keep_alive(self, states: JobStates[Any]) -> bool:
        """Resubmits tasks that ended too early; Slurm itself may requeue some."""
        now = time.monotonic()
        least, most = _LOOK_SECONDS
        age = now - self._submitted
        if now - self._looked < min(max(least, _LOOK_SHARE * age), most):
            return True
        living = self._living()
        self._looked = time.monotonic()
        missing = 0 if living is None else self._config.workers - living
        if missing > 0:
            states.refresh()  # tasks that end because nothing is left have left nothing open
            if states.open:
                self._patience.lose(missing, states, self._last_words)
                self._submit(missing)
        return True

    def stop(self) -> None:
        """Cancels all tasks; running ones release their claims first."""
        if self._arrays:
            subprocess.run(["scancel", *self._arrays], capture_output=True)

    def _submit(self, count: int) -> None:
        from submitit import SlurmExecutor
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        config = replace(self._config, workers=1)
        submitter = SlurmExecutor(self._folder)
        submitter.update_parameters(**self._executor.parameters(self._config))
        try:
            jobs = submitter.submit_array([WatchWorker(config=config)] * count)
        except (FailedJobError, FailedSubmissionError) as error:
            said = [line for line in str(error).splitlines() if "sbatch: error" in line]
            raise UserError(
                f"--executor slurm: {'; '.join(said) or error}",
                allowed="what this cluster has: sinfo, sacctmgr show associations",
            ) from None
        self._arrays.append(jobs[0].job_id.partition("_")[0])
        self._submitted = self._looked = time.monotonic()

    def _living(self) -> int | None:
        """Returns how many tasks wait or run; None if Slurm does not answer."""
        answer = subprocess.run(
            ["squeue", "--noheader", "--array", "--format=%F", f"--jobs={','.join(self._arrays)}"],
            capture_output=True,
            text=True,
        )
        # Slurm forgets a job some minutes after its end, and then rejects its id: no task is alive.
        if answer.returncode != 0 and "Invalid job id" not in answer.stderr:
            return None
        tasks = Counter(answer.stdout.split())
        # One id always remains: `--jobs=` without an id would count the tasks of all users.
        self._arrays = [array for array in self._arrays if tasks[array]] or self._arrays[-1:]
        return tasks.total()

    def _last_words(self) -> tuple[str, Path]:
        logs = sorted(self._folder.glob("*_log.out"), key=lambda path: path.stat().st_mtime)
        for log in reversed(logs):
            text = log.read_bytes()[-_MOST_BYTES:].decode("utf-8", errors="replace")
            lines = [line for line in text.splitlines() if not re.match("s(run|lurmstepd)", line)]
            if lines:
                return "\n    ".join(["", *lines[-_LAST_LINES:]]), log
        return "", self._folder
