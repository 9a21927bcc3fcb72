"""Live progress: a bar on a terminal, plain lines in a log."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dpbench.grid.worker import Board

_LINE_SECONDS = 15.0


class RunProgress:
    """Follows a board of jobs; the time left is estimated from the nominal cost of what is open."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._first: float | None = None
        self._last_line = 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} jobs"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("running", total=1, left="")

    def __enter__(self) -> Self:
        """Starts the display."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Ends the display."""
        self._bar.stop()

    def __call__(self, board: Board) -> None:
        """Shows the state of the board."""
        open_jobs = board.open
        left = sum(job.seconds for job in open_jobs)
        if self._first is None:
            self._first = left
        total, done = len(board.jobs), len(board.jobs) - len(open_jobs)
        stage = open_jobs[0].kind if open_jobs else "done"
        estimate = self._estimate(left)
        self._bar.update(self._task, total=total, completed=done, description=stage, left=estimate)
        if self._console.is_terminal:
            return
        now = time.monotonic()
        if not open_jobs or now - self._last_line >= _LINE_SECONDS:
            self._last_line = now
            failed = f", {len(board.failed)} failed" if board.failed else ""
            elapsed = f"{now - self._start:.0f} s"
            self._console.print(f"{done}/{total} jobs{failed}, {elapsed}, {estimate or stage}")

    def _estimate(self, left: float) -> str:
        """Says how long the rest takes at the speed so far."""
        assert self._first is not None
        spent, worked = time.monotonic() - self._start, self._first - left
        if left == 0 or worked <= 0.02 * self._first:
            return ""
        seconds = left * spent / worked
        return (
            f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
        )
