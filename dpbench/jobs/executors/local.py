"""Worker processes on this machine: started, watched, replaced when they die or hang."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dpbench.errors import UserError
from dpbench.faults import EXIT_CODE, MEND
from dpbench.jobs.claims import Claim, Claims
from dpbench.jobs.executors.base import Executor, Patience, Workers
from dpbench.jobs.gpus import environment_for
from dpbench.jobs.host import host_name, resident_gb
from dpbench.jobs.job_log import JobLog
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.quarantine import Quarantine
from dpbench.jobs.store import Failure, Store
from dpbench.jobs.worker_config import NO_LIMITS, WorkerConfig

# How long a worker that is told to stop may take to release its claim.
_GRACE_SECONDS = 5

# One thread per worker: the engines keep a core busy, and two pools of threads on the same cores
# slow each other down. A high mmap threshold makes malloc keep large buffers (docs/speed.md).
_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "GLIBC_TUNABLES": ":".join(
        f"glibc.malloc.{name}_threshold=4294967296" for name in ("mmap", "trim")
    ),
}

_Worker = subprocess.Popen[bytes]


@dataclass(frozen=True, kw_only=True)
class Local(Executor):
    """Processes on this machine."""

    name: ClassVar[str] = "local"

    @property
    def here(self) -> bool:
        """True: workers are processes of this machine."""
        return True

    def require(self) -> None:
        """Needs nothing."""

    def start(self, config: WorkerConfig) -> Workers:
        """Starts processes that end when this one does."""
        return Pool(config)


class Pool(Workers):
    """The workers that this process watches on one run; other machines may have their own."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config, self._store = config, Store.of(config.folder)
        root = self._store.root
        self._claims = Claims(root / "claims")
        self._quarantine, self._log = Quarantine(self._store), JobLog(root / "logs")
        self._output = root / "logs" / f"workers-{host_name()}.log"
        self._patience = Patience(config.workers)
        self._workers = [self._start(number) for number in range(config.workers)]

    def stop(self) -> None:
        """Ends all workers; the next run repeats the work that they had not published."""
        # All are told before any is waited for, so that their grace periods overlap.
        for worker in self._workers:
            if worker.poll() is None:
                worker.send_signal(signal.SIGTERM)
        for worker in self._workers:
            try:
                worker.wait(timeout=_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                self._kill(worker)
            for claim in self._claims.owned_by(worker.pid):
                self._claims.drop(claim)

    def keep_alive(self, states: JobStates[Any]) -> bool:
        """Replaces workers that died or exceed a limit; False when all have found nothing to do."""
        for number, worker in enumerate(self._workers):
            if worker.poll() == 0:
                continue
            if worker.returncode is not None:
                self._note_death(worker, states)
            elif not self._stop_if_over_limit(worker):
                continue
            self._workers[number] = self._start(number)
        return any(worker.poll() is None for worker in self._workers)

    def _note_death(self, worker: _Worker, states: JobStates[Any]) -> None:
        claims = self._claims.owned_by(worker.pid)
        for claim in claims:
            self._quarantine.died(claim, _death(worker.returncode, self._output))
            self._claims.drop(claim)
        # A new worker would meet the same full disk.
        if worker.returncode == EXIT_CODE:
            raise UserError(f"a worker cannot go on: {self._last_words()}", next_step=MEND)
        # A death with a claim counts against the job; without one, something is wrong with workers.
        if not claims:
            self._patience.lose(1, states, lambda: (self._last_words(), self._output))

    def _last_words(self) -> str:
        lines = self._output.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "silently"

    def _stop_if_over_limit(self, worker: _Worker) -> bool:
        """Kills a worker whose job exceeds a limit, and fails the job; tells whether it did."""
        if self._config.limits == NO_LIMITS:
            return False
        claims = self._claims.owned_by(worker.pid)
        over = {claim.key: reason for claim in claims if (reason := self._over(worker, claim))}
        if not over:
            return False
        self._kill(worker)
        for key, reason in over.items():
            # The job may have been published just before its worker was killed.
            if not self._store.has(key) and not self._store.has_failed(key):
                self._store.fail(key, Failure("failed", reason))
                self._log.add(key, "failed", reason=reason)
        for claim in self._claims.owned_by(worker.pid):
            self._claims.drop(claim)
        return True

    def _over(self, worker: _Worker, claim: Claim) -> str:
        """Returns which limit a job exceeds, or an empty string."""
        seconds, memory = self._config.limits.seconds, self._config.limits.memory_gb
        if seconds is not None and time.time() - claim.since > seconds:
            return f"stopped after {seconds:g} s (--job-timeout)"
        if memory is not None and (used := resident_gb(worker.pid)) > memory:
            return f"stopped at {used:.1f} GB of memory (--memory-limit {memory:g})"
        return ""

    @staticmethod
    def _kill(worker: _Worker) -> None:
        worker.kill()
        worker.wait()

    def _start(self, number: int) -> _Worker:
        config = self._config
        command = [sys.executable, *config.program, str(config.folder)]
        command += ["--device", config.device]
        command += ["--watched-by", str(os.getpid())]
        if config.data_dir is not None:
            command += ["--data-dir", str(config.data_dir)]
        for path in config.plugins:
            command += ["--plugin", str(path)]
        gpu = environment_for(config.device, config.first + number)
        with self._output.open("ab") as log:
            # In a session of its own, a worker does not get the terminal's Ctrl-C: `stop` tells it.
            return subprocess.Popen(
                command,
                env=os.environ | _ENVIRONMENT | gpu,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _death(code: int, output: Path) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"signal {name}" + ("; often out of memory" if code == -signal.SIGKILL else "")
    return f"exit code {code}; see {output}"
