"""Worker processes on this machine: started, watched, replaced when they die or hang."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dpbench.errors import UserError
from dpbench.faults import EXIT_CODE, MEND
from dpbench.grid.board import Board
from dpbench.grid.claims import Claims
from dpbench.grid.job import Context, Job
from dpbench.grid.job_log import JobLog
from dpbench.grid.quarantine import Quarantine
from dpbench.grid.store import Failure

_POLL_SECONDS, _POLL_SHARE = 0.5, 30
# How long a worker that is told to stop may take to give its claim back.
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

WORKER = (sys.executable, "-m", "dpbench.grid.worker")
"""The program that works; its arguments are a folder and options."""


@dataclass(frozen=True, kw_only=True)
class Crew:
    """How a machine works on a run.

    Attributes:
        workers: How many processes.
        job_timeout: Seconds after which a job is stopped and fails.
        plugins: Where the grid's plugins are on this machine, if they are elsewhere.
    """

    workers: int
    job_timeout: float | None = None
    plugins: tuple[Path, ...] = ()


class Pool:
    """The workers of this machine on one run folder, among those of others."""

    def __init__(self, context: Context, out: Path, crew: Crew) -> None:
        self._context, self._out, self._crew = context, out, crew
        store = context.store
        self._claims = Claims(store.root / "claims")
        self._quarantine, self._log = Quarantine(store), JobLog(store.root / "logs")
        self._output = store.root / "logs" / f"workers-{socket.gethostname()}.log"
        self._idle_deaths = 0
        self._workers = [self._start() for _ in range(crew.workers)]

    def run(self, board: Board[Job], report: Callable[[Board[Job]], None]) -> None:
        """Waits until no job is open, reporting progress; stops all workers on the way out.

        Raises:
            UserError: Workers end before they take a job.
        """
        try:
            while True:
                started, settled = time.monotonic(), len(board.finished) + len(board.failed)
                board.refresh()
                if len(board.finished) + len(board.failed) > settled:
                    self._idle_deaths = 0  # workers do get to work
                report(board)
                if not board.open or not self._watch():
                    return
                # Looking through ten thousand jobs takes a while, and a core that is not free.
                time.sleep(max(_POLL_SECONDS, _POLL_SHARE * (time.monotonic() - started)))
        finally:
            self.stop()

    def stop(self) -> None:
        """Ends all workers; what they had not published is done again by the next run."""
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

    def _watch(self) -> bool:
        """Replaces workers that died or hang; False when all have found nothing left to do."""
        for number, worker in enumerate(self._workers):
            if worker.poll() == 0:
                continue
            if worker.returncode is not None:
                self._bury(worker)
            elif not self._stop_late(worker):
                continue
            self._workers[number] = self._start()
        return any(worker.poll() is None for worker in self._workers)

    def _bury(self, worker: _Worker) -> None:
        claims = self._claims.owned_by(worker.pid)
        for claim in claims:
            self._quarantine.died(claim, _death(worker.returncode, self._output))
            self._claims.drop(claim)
        self._idle_deaths += not claims
        if worker.returncode == EXIT_CODE:
            raise UserError(f"a worker cannot go on: {self._last_words()}", next_step=MEND)
        if self._idle_deaths > 2 * len(self._workers):
            raise UserError(
                f"workers end before they finish a job: {self._last_words()}",
                next_step=f"see {self._output}",
            )

    def _last_words(self) -> str:
        lines = self._output.read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else "silently"

    def _stop_late(self, worker: _Worker) -> bool:
        """Kills a worker whose job has had its time, and fails the job; tells whether it did."""
        limit = self._crew.job_timeout
        if limit is None:
            return False
        late = [c for c in self._claims.owned_by(worker.pid) if time.time() - c.since > limit]
        if not late:
            return False
        self._kill(worker)
        store = self._context.store
        for claim in late:
            if not store.has(claim.key) and not store.has_failed(claim.key):
                reason = f"stopped after {limit:g} s (--job-timeout)"
                store.fail(claim.key, Failure("failed", reason))
                self._log.add(claim.key, "failed", reason=reason)
        for claim in self._claims.owned_by(worker.pid):
            self._claims.drop(claim)
        return True

    @staticmethod
    def _kill(worker: _Worker) -> None:
        worker.kill()
        worker.wait()

    def _start(self) -> _Worker:
        command = [*WORKER, str(self._out), "--device", self._context.device]
        command += ["--watched-by", str(os.getpid())]
        if self._context.data_dir is not None:
            command += ["--data-dir", str(self._context.data_dir)]
        for path in self._crew.plugins:
            command += ["--plugin", str(path)]
        with self._output.open("ab") as log:
            return subprocess.Popen(
                command,
                env=os.environ | _ENVIRONMENT,
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
