"""The grid of what was chosen, ready to run."""

import dataclasses
from pathlib import Path

import pandas as pd

from dpbench.defenses import Composition, OwnRecipe, Undefended
from dpbench.study.document import write_document
from dpbench.study.spec import Grid
from dpbench.tuning.recipes import as_own, with_recipe, without_recipe
from dpbench.tuning.trials import UNDEFENDED, TuningTrials


def write_tuned_grid(
    grid: Grid, trials: TuningTrials, rows: pd.DataFrame, path: Path, *, command: str
) -> int:
    """Writes the grid with what was chosen in the place of its own cells; returns their number.

    The recipe is that of the chosen undefended trial; a cell whose own recipe is another one says
    so. The header says that, how and on what they were tuned; `trials.csv` beside it has all
    others.
    """
    by_label = {cell.label: cell for cell in trials.grid.cells}
    chosen = [by_label[label] for label in rows.loc[rows["chosen_for"] != "", "cell"]]
    recipes = {cell.label: _recipe(cell, grid) for cell in chosen}
    undefended = rows[(rows["family"] == UNDEFENDED) & (rows["chosen_for"] != "")]
    tuned_recipe = grid.recipe
    for label in undefended["cell"]:
        tuned_recipe = recipes[label].adapt(grid.recipe)
    cells = {
        made.label: made
        for cell in chosen
        for made in [with_recipe(recipes[cell.label], without_recipe(cell), tuned_recipe)]
    }
    baseline = Composition((Undefended(),))
    tuned = dataclasses.replace(
        grid,
        name=f"{grid.name}-tuned",
        recipe=tuned_recipe,
        cells=tuple(({baseline.label: baseline} | cells).values()),
    )
    write_document(tuned.document(), path)
    most = max((len(family.labels) for family in trials.families), default=0)
    header = [
        f"What {grid.name} asks, with recipes and strengths tuned by: {command}",
        f"Up to {most} trials for each of {len(trials.families)} families, on halves of its public",
        "reference set: neither members of any model that this grid trains, nor its test set.",
        "trials.csv beside it lists every trial and what it was chosen for.",
    ]
    text = path.read_text(encoding="utf-8")
    path.write_text("".join(f"# {line}\n" for line in header) + text, encoding="utf-8")
    return len(chosen)


def _recipe(cell: Composition, grid: Grid) -> OwnRecipe:
    """Returns the recipe that a trial was made by, every searched field written out."""
    recipe = grid.recipe
    for part in cell.parts:
        if isinstance(part, OwnRecipe):
            recipe = part.adapt(recipe)
    return as_own(recipe)
