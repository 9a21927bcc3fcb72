"""`dpbench merge`: results of machines that share no folder come together."""

from pathlib import Path
from typing import Annotated

import typer

from dpbench.cli.console import console
from dpbench.cli.options import DataOption, FolderArgument, PluginOption


def merge(
    folder: FolderArgument,
    others: Annotated[
        list[Path], typer.Argument(help="Folders of runs of the same grid, or their stores.")
    ],
    plugin: PluginOption = None,
    data_dir: DataOption = None,
) -> None:
    """Take in the results of other stores of a grid, verify them, and write the tables."""
    from dpbench.cli.collect import write_results
    from dpbench.jobs.merge import merge as merge_stores
    from dpbench.jobs.merge import open_store
    from dpbench.study.folder import open_run
    from dpbench.study.plan import make_plan

    context = open_run(folder, data_dir=data_dir, plugins=plugin or ())
    stores = [open_store(other) for other in others]
    plan = make_plan(context)
    context.store.create()
    merged = merge_stores(plan.jobs, context.store, stores)
    left = len(plan.jobs.keys() - context.store.finished() - context.store.failures())
    screen = console()
    screen.print(
        f"{merged.adopted} results came in, {merged.present} were here already, "
        f"{merged.failures} failures came in, {merged.foreign} results are of other grids"
    )
    if merged.reopened:
        screen.print(f"{merged.reopened} results are to be computed again with what is here now")
    if left:
        again = f"dpbench run {folder}/grid.yaml --out {folder}"
        screen.print(f"{left} jobs have no result: {again}", markup=False, soft_wrap=True)
    write_results(context, plan, folder)
