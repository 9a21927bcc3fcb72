"""Running a planned grid under a progress display."""

from pathlib import Path

import typer
from rich.console import Console

from dpbench.grid import runner
from dpbench.grid.job import Context
from dpbench.progress import RunProgress


def execute(
    context: Context,
    folder: Path,
    *,
    workers: int | None,
    retry_failed: bool = False,
    cells: str = "cells",
) -> runner.Outcome:
    """Runs every open job of a grid and writes its tables.

    Args:
        context: The run.
        folder: Its folder.
        workers: Worker processes; None takes one for each core.
        retry_failed: Forgets failures first.
        cells: What cells are called here.

    Raises:
        Exit: 130, interrupted; nothing is lost.
    """
    plan = runner.prepare(context, folder)
    if retry_failed:
        runner.retry_failed(context.store, plan)
    err = Console(stderr=True)
    counts = f"{len(plan.cells)} {cells}, {len(plan.jobs)} jobs"
    err.print(f"{context.grid.name}: {counts} -> {folder}", markup=False)
    try:
        with RunProgress(err) as progress:
            return runner.execute(
                context,
                plan,
                folder,
                workers=workers or runner.default_workers(),
                report=progress,
            )
    except KeyboardInterrupt:
        err.print("interrupted: nothing is lost, the same command goes on from here")
        raise typer.Exit(130) from None
