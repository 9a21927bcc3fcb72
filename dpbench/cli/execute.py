"""Running a planned grid under a progress display."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from dpbench.faults import explained
from dpbench.grid import runner
from dpbench.grid.crew import NO_LIMITS, Limits
from dpbench.grid.executors import Executor
from dpbench.grid.job import Context
from dpbench.progress import Form, RunProgress


def execute(
    context: Context,
    folder: Path,
    *,
    workers: int | None,
    retry_failed: bool = False,
    cells: str = "cells",
    limits: Limits = NO_LIMITS,
    executor: Executor | None = None,
    progress: Form = "text",
) -> runner.Outcome:
    """Runs every open job of a grid and writes its tables.

    Args:
        context: The run.
        folder: Its folder.
        workers: How many; None takes one for each core.
        retry_failed: Forgets failures first.
        cells: What cells are called here.
        limits: What a job may take before it is stopped and fails.
        executor: Who starts workers; this process if left out.
        progress: How progress is shown.

    Raises:
        Exit: 130, interrupted; nothing is lost.
    """
    plan = runner.prepare(context, folder)
    if retry_failed:
        runner.retry_failed(context.store, plan)
    err = Console(stderr=True)
    counts = f"{len(plan.cells)} {cells}, {len(plan.jobs)} jobs"
    err.print(f"{context.grid.name}: {counts} -> {folder}", markup=False)
    with followed(context, folder, err, form=progress) as report:
        return runner.execute(
            context,
            plan,
            folder,
            workers=workers or runner.default_workers(),
            report=report,
            limits=limits,
            executor=executor,
        )


@contextmanager
def followed(
    context: Context, folder: Path, err: Console, *, form: Form = "text"
) -> Iterator[RunProgress]:
    """Shows the progress of what is done inside.

    Raises:
        Exit: 130, interrupted; nothing is lost.
        UserError: The disk is full, say.
    """
    try:
        with RunProgress(err, folder, context.store, form=form) as progress:
            yield progress
    except KeyboardInterrupt:
        err.print("interrupted: nothing is lost, the same command goes on from here")
        raise typer.Exit(130) from None
    except OSError as error:
        raise explained(error, folder) from None
