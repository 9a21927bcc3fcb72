"""`dpbench tune`: strengths for every defense, with the same effort for each."""

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
from dpbench.cli.with_means import with_means
from dpbench.errors import UserError

if TYPE_CHECKING:
    from dpbench.cli.means import Means

LOSSES = (0.01, 0.03, 0.1)


@with_means
def tune(
    grid: GridArgument,
    trials: Annotated[int, typer.Option(min=1, help="Trials for each defense.")] = 12,
    models: Annotated[int, typer.Option(min=4, help="Models for each trial.")] = 16,
    accuracy_loss: Annotated[
        list[float] | None,
        typer.Option(help="Accuracy that may be lost, from 0 to 1; give it once for each value."),
    ] = None,
    out: OutOption = None,
    plugin: PluginOption = None,
    data_dir: DataOption = None,
    *,
    means: "Means",
) -> None:
    """Try as many strengths of every defense, on public data, and write a grid of the best."""
    from dpbench.cli.execute import execute
    from dpbench.grid.job import Context
    from dpbench.grid.shipped import find_grid
    from dpbench.grid.spec import read_grid
    from dpbench.grid.store import Store
    from dpbench.tuning.choose import choose
    from dpbench.tuning.trials import plan_trials
    from dpbench.tuning.tuned_grid import write_tuned_grid

    losses = _losses(accuracy_loss)
    evaluated = read_grid(find_grid(grid), plugin or ())
    planned = plan_trials(evaluated, trials=trials, models=models)
    folder = out or Path("results") / planned.grid.name
    context = Context(
        grid=planned.grid, store=Store(folder / "store"), device=means.device, data_dir=data_dir
    )
    outcome = execute(context, folder, means, cells="trials")
    rows = choose(planned, outcome.cells, outcome.attacks, losses)
    rows.to_csv(folder / "trials.csv", index=False)
    path = folder / f"{evaluated.name}-tuned.yaml"
    options = "".join(f" --accuracy-loss {loss:g}" for loss in accuracy_loss or ())
    command = f"dpbench tune {grid} --trials {trials} --models {models}{options}"
    count = write_tuned_grid(evaluated, planned, rows, path, command=command)
    _summary(rows)
    Console(stderr=True).print(
        f"{count} strengths chosen: dpbench run {path}", markup=False, soft_wrap=True
    )


def _losses(given: list[float] | None) -> tuple[float, ...]:
    losses = tuple(given or LOSSES)
    for loss in losses:
        if not 0 < loss < 1:
            raise UserError(f"--accuracy-loss {loss:g} is not valid", allowed="between 0 and 1")
    return losses


def _summary(rows: Any) -> None:
    table = Table("defense", "chosen", "for a loss of", "accuracy", "advantage")
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
