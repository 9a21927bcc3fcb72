"""`dpbench tune`: recipes and strengths for every defense, with the same effort for each."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dpbench.cli.console import console
from dpbench.cli.options import (
    DataOption,
    GridArgument,
    OutOption,
    PluginOption,
)
from dpbench.cli.with_run_options import with_run_options
from dpbench.errors import UserError

if TYPE_CHECKING:
    from dpbench.cli.run_options import RunOptions
    from dpbench.study.spec import Grid
    from dpbench.tuning.trials import TuningTrials

LOSSES = (0.01, 0.03, 0.1)


@with_run_options
def tune(
    grid: GridArgument,
    trials: Annotated[
        int, typer.Option(min=1, help="Trials for each defense; DP-SGD at each epsilon.")
    ] = 12,
    models: Annotated[int, typer.Option(min=4, help="Models for each trial.")] = 16,
    accuracy_loss: Annotated[
        list[float] | None,
        typer.Option(help="Accuracy that may be lost, from 0 to 1; give it once for each value."),
    ] = None,
    out: OutOption = None,
    plugin: PluginOption = None,
    data_dir: DataOption = None,
    *,
    options: "RunOptions",
) -> None:
    """Try as many recipes and strengths of every defense, on public data; write a grid of the best.

    A grid that lists several populations is tuned for each of them.
    """
    import torch

    from dpbench.study.shipped import find_grid
    from dpbench.study.spec import read_grids
    from dpbench.tuning.trials import plan_trials

    torch.set_num_threads(1)
    losses = _losses(accuracy_loss)
    grids = read_grids(find_grid(grid), plugin or ())
    wanted = "".join(f" --accuracy-loss {loss:g}" for loss in accuracy_loss or ())
    command = f"dpbench tune {grid} --trials {trials} --models {models}{wanted}"
    for evaluated in grids:
        planned = plan_trials(evaluated, trials=trials, models=models)
        folder = out / planned.grid.name if out and len(grids) > 1 else out
        _tune(
            evaluated,
            planned,
            folder or Path("results") / planned.grid.name,
            losses,
            command=command,
            options=options,
            data_dir=data_dir,
        )


def _tune(
    evaluated: "Grid",
    planned: "TuningTrials",
    folder: Path,
    losses: Sequence[float],
    *,
    command: str,
    options: "RunOptions",
    data_dir: Path | None,
) -> None:
    """Runs the trials of one population, and writes what was chosen."""
    from dpbench.cli.execute import execute
    from dpbench.jobs.store import Store
    from dpbench.study.context import Context
    from dpbench.tuning.choose import choose
    from dpbench.tuning.tuned_grid import write_tuned_grid

    context = Context(
        grid=planned.grid, store=Store(folder / "store"), device=options.device, data_dir=data_dir
    )
    err = Console(stderr=True)
    members = context.population.expected_members
    asked = evaluated.population.pool / 2
    if 1.1 * members < asked:
        err.print(
            f"warning: a model has {members:,.0f} members while it is tuned, and {asked:,.0f} in "
            "this grid: the best learning rates of DP-SGD depend on that; "
            f"population.reference: {2 * evaluated.population.pool} would make them equal",
            style="yellow",
            markup=False,
            soft_wrap=True,
        )
    outcome = execute(context, folder, options, cells="trials")
    rows = choose(planned, outcome.cells, outcome.attacks, losses)
    rows.to_csv(folder / "trials.csv", index=False)
    path = folder / f"{evaluated.name}-tuned.yaml"
    count = write_tuned_grid(evaluated, planned, rows, path, command=command)
    _summary(rows)
    err.print(f"{count} trials chosen: dpbench run {path}", markup=False, soft_wrap=True)


def _losses(given: list[float] | None) -> tuple[float, ...]:
    losses = tuple(given or LOSSES)
    for loss in losses:
        if not 0 < loss < 1:
            raise UserError(f"--accuracy-loss {loss:g} is not valid", allowed="between 0 and 1")
    return losses


def _summary(rows: Any) -> None:
    table = Table("defense", "chosen", "for", "accuracy", "advantage")
    for family, own in rows.groupby("family", sort=False):
        chosen = own[own["chosen_for"] != ""]
        if chosen.empty:
            table.add_row(str(family), "none of its trials", "-", "-", "-")
        for _, row in chosen.iterrows():
            table.add_row(
                str(family),
                row["cell"],
                row["chosen_for"].replace(" ", ", "),
                f"{row['accuracy']:.3f}",
                f"{row['advantage']:.3f}",
            )
    console().print(table)
