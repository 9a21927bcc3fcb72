"""`dpbench collect`: tables and report from what is in the store."""

from pathlib import Path

import typer
from rich.console import Console

from dpbench.cli.draw import draw
from dpbench.cli.options import DataOption, FolderArgument, PluginOption


def collect(
    folder: FolderArgument, plugin: PluginOption = None, data_dir: DataOption = None
) -> None:
    """Write the tables and the report of what workers have finished, computing nothing."""
    if collect_folder(folder, plugin, data_dir):
        raise typer.Exit(1)


def collect_folder(folder: Path, plugins: list[Path] | None, data_dir: Path | None) -> int:
    """Writes tables and report; returns how many rows have no result."""
    from dpbench.grid import runner
    from dpbench.grid.folder import open_run
    from dpbench.grid.listing import write_listing
    from dpbench.grid.plan import make_plan

    context = open_run(folder, data_dir=data_dir, plugins=plugins or ())
    plan = make_plan(context)
    write_listing(plan.jobs, folder)
    outcome = runner.collect(context, plan, folder)
    draw(folder, data_dir)
    err = Console(stderr=True)
    for what, why in outcome.failures:
        err.print(f"no result: {what}: {why}", style="red", markup=False)
    err.print(f"report: {folder / 'report.html'}", markup=False, soft_wrap=True)
    return len(outcome.failures)
