"""Running a planned grid under a progress display."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import typer
from rich.console import Console

from dpbench.cli.run_options import RunOptions
from dpbench.faults import explained
from dpbench.jobs.runner import default_workers, retry_failed
from dpbench.progress import Form, RunProgress
from dpbench.study import execution
from dpbench.study.context import Context


def execute(
    context: Context, folder: Path, options: RunOptions, *, cells: str = "cells"
) -> execution.Outcome:
    """Runs every open job of a grid and writes its tables.

    Args:
        context: The run.
        folder: Its folder.
        options: With what it is run.
        cells: What cells are called here.

    Raises:
        Exit: 130, interrupted; nothing is lost.
    """
    err = Console(stderr=True)
    err.print(context.population.understood, markup=False, highlight=False, soft_wrap=True)
    plan = execution.prepare(context, folder)
    if options.retry_failed:
        retry_failed(context.store, plan.jobs)
    counts = f"{len(plan.cells)} {cells}, {len(plan.jobs)} jobs"
    err.print(f"{context.grid.name}: {counts} -> {folder}", markup=False)
    with followed(context, folder, err, form=options.progress) as report:
        return execution.execute(
            context,
            plan,
            folder,
            workers=options.workers or default_workers(),
            report=report,
            limits=options.limits,
            executor=options.executor,
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
