"""Live progress: a bar on a terminal, plain lines in a log, or JSON lines for a program."""

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from dpbench.jobs.job_states import JobStates
from dpbench.jobs.snapshot import snapshot, write_progress
from dpbench.jobs.store import Store

_LINE_SECONDS, _FILE_SECONDS = 15.0, 1.0

Form = Literal["text", "json"]
"""How progress is shown: `text` is a bar, or lines where there is no terminal."""


class RunProgress:
    """Follows a states of jobs; the time left is estimated from the nominal cost of what is open.

    Args:
        console: Where people read.
        folder: The run's folder, for its progress file.
        store: The run's store.
        form: `json` writes what the progress file holds to stderr, as one line each time.
    """

    def __init__(
        self, console: Console, folder: Path, store: Store, *, form: Form = "text"
    ) -> None:
        self._console, self._folder, self._store = console, folder, store
        self._form = form
        self._start = time.monotonic()
        self._first: float | None = None
        self._last_line = self._last_file = 0.0
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f} jobs"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            transient=True,
            disable=form == "json" or not console.is_terminal,
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

    def __call__(self, states: JobStates[Any]) -> None:
        """Shows the state of the states."""
        open_jobs = states.open
        left = sum(job.seconds for job in open_jobs)
        if self._first is None:
            self._first = left
        seconds = self._seconds_left(left)
        self._write(states, seconds)
        if self._form == "json":
            return
        total, done = len(states.jobs), len(states.jobs) - len(open_jobs)
        stage, estimate = open_jobs[0].kind if open_jobs else "done", spoken(seconds)
        self._bar.update(self._task, total=total, completed=done, description=stage, left=estimate)
        if self._console.is_terminal:
            return
        now = time.monotonic()
        if not open_jobs or now - self._last_line >= _LINE_SECONDS:
            self._last_line = now
            lost = f", {len(states.failed)} without a result" if states.failed else ""
            elapsed = f"{now - self._start:.0f} s"
            self._console.print(f"{done}/{total} jobs{lost}, {elapsed}, {estimate or stage}")

    def _write(self, states: JobStates[Any], seconds: float | None) -> None:
        now = time.monotonic()
        if states.open and now - self._last_file < _FILE_SECONDS:
            return
        self._last_file = now
        document = snapshot(states, self._store, seconds_left=seconds)
        if self._form == "json":
            print(json.dumps(document), file=sys.stderr, flush=True)
        with suppress(OSError):  # a full disk stops workers soon enough, and they say so
            write_progress(document, self._folder)

    def _seconds_left(self, left: float) -> float | None:
        """Returns how long the rest takes at the speed so far, if enough was done to tell."""
        assert self._first is not None
        spent, worked = time.monotonic() - self._start, self._first - left
        if left == 0:
            return 0.0
        return None if worked <= 0.02 * self._first else left * spent / worked


def spoken(seconds: float | None) -> str:
    """Says how long something takes; nothing where it is not known, or over."""
    if not seconds:
        return ""
    return f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
