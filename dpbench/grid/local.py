"""Worker processes on this machine: started, watched, replaced when they die."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from dpbench.grid.claims import Claims
from dpbench.grid.job import Context
from dpbench.grid.store import Failure
from dpbench.grid.worker import Board

_POLL_SECONDS, _POLL_SHARE = 0.5, 30
# A job that took two workers down with it is recorded as failed instead of tried again.
_MOST_DEATHS = 2

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


class Pool:
    """N worker processes on one run folder."""

    def __init__(self, context: Context, out: Path, workers: int) -> None:
        self._context, self._out = context, out
        self._claims = Claims(context.store.root / "claims")
        self._deaths: Counter[str] = Counter()
        self._silent_deaths = 0
        self._workers = [self._start() for _ in range(workers)]

    def run(self, board: Board, report: Callable[[Board], None]) -> None:
        """Waits until no job is open, reporting progress; stops all workers on the way out."""
        try:
            while True:
                started = time.monotonic()
                board.refresh()
                report(board)
                if not board.open or not self._watch(board):
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
                worker.wait(timeout=5)
            except subprocess.TimeoutExpired:
                worker.kill()
                worker.wait()

    def _watch(self, board: Board) -> bool:
        """Replaces dead workers; False when none is left and none is worth starting."""
        for number, worker in enumerate(self._workers):
            if worker.poll() in (None, 0):
                continue
            jobs = self._claims.owned_by(worker.pid)
            self._silent_deaths += not jobs
            for key in jobs:
                self._deaths[key] += 1
                if self._deaths[key] >= _MOST_DEATHS:
                    reason = f"the worker died twice ({_death(worker.returncode)})"
                    self._context.store.fail(key, Failure("failed", reason))
            if self._silent_deaths > 2 * len(self._workers):
                return False
            self._workers[number] = self._start()
        return any(worker.poll() is None for worker in self._workers)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dpbench.grid.worker", str(self._out)]
        command += ["--device", self._context.device]
        if self._context.data_dir is not None:
            command += ["--data-dir", str(self._context.data_dir)]
        with (self._context.store.root / "workers.log").open("ab") as log:
            return subprocess.Popen(
                command,
                env=os.environ | _ENVIRONMENT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )


def _death(code: int) -> str:
    if code < 0:
        return f"signal {signal.Signals(-code).name}; SIGKILL often means out of memory"
    return f"exit code {code}; see store/workers.log"
