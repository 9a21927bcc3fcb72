"""Running a planned grid under a progress display."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from dpbench.cli.means import Means
from dpbench.faults import explained
from dpbench.grid import runner
from dpbench.grid.job import Context
from dpbench.progress import Form, RunProgress


def execute(
    context: Context, folder: Path, means: Means, *, cells: str = "cells"
) -> runner.Outcome:
    """Runs every open job of a grid and writes its tables.

    Args:
        context: The run.
        folder: Its folder.
        means: With what it is run.
        cells: What cells are called here.

    Raises:
        Exit: 130, interrupted; nothing is lost.
    """
    err = Console(stderr=True)
    err.print(context.population.understood, markup=False, highlight=False, soft_wrap=True)
    plan = runner.prepare(context, folder)
    if means.retry_failed:
        runner.retry_failed(context.store, plan)
    counts = f"{len(plan.cells)} {cells}, {len(plan.jobs)} jobs"
    err.print(f"{context.grid.name}: {counts} -> {folder}", markup=False)
    with followed(context, folder, err, form=means.progress) as report:
        return runner.execute(
            context,
            plan,
            folder,
            workers=means.workers or runner.default_workers(),
            report=report,
            limits=means.limits,
            executor=means.executor,
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
