"""`dpbench collect`: tables and report from what is in the store."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.console import Console

from dpbench.cli.draw import draw
from dpbench.cli.options import DataOption, FolderArgument, PluginOption

if TYPE_CHECKING:
    from dpbench.study.cell import Plan
    from dpbench.study.context import Context


def collect(
    folder: FolderArgument, plugin: PluginOption = None, data_dir: DataOption = None
) -> None:
    """Write the tables and the report of what workers have finished, computing nothing."""
    from dpbench.jobs.listing import write_listing
    from dpbench.study.folder import open_run
    from dpbench.study.plan import make_plan

    context = open_run(folder, data_dir=data_dir, plugins=plugin or ())
    plan = make_plan(context)
    write_listing(plan.jobs, folder)
    if write_results(context, plan, folder):
        raise typer.Exit(1)


def write_results(context: "Context", plan: "Plan", folder: Path) -> int:
    """Writes tables and report; returns how many rows have no result."""
    from dpbench.study import execution

    outcome = execution.collect(context, plan, folder)
    draw(folder, context.data_dir)
    err = Console(stderr=True)
    for what, why in outcome.failures:
        err.print(f"no result: {what}: {why}", style="red", markup=False)
    err.print(f"report: {folder / 'report.html'}", markup=False, soft_wrap=True)
    return len(outcome.failures)
