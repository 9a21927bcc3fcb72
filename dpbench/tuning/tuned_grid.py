"""The grid of what was chosen, ready to run."""

import dataclasses
from pathlib import Path

import pandas as pd

from dpbench.defenses import Composition
from dpbench.grid.document import write_document
from dpbench.grid.spec import Grid
from dpbench.tuning.trials import Trials


def write_tuned_grid(
    grid: Grid, trials: Trials, rows: pd.DataFrame, path: Path, *, command: str
) -> int:
    """Writes the grid with the chosen strengths in the place of its own; returns their number.

    The header says that, how and on what they were tuned; `trials.csv` beside it has all others.
    """
    by_label = {cell.label: cell for cell in trials.grid.cells}
    chosen = [by_label[label] for label in rows.loc[rows["chosen_for"] != "", "cell"]]
    undefended = next(cell for cell in grid.cells if cell.name == "none")
    cells: tuple[Composition, ...] = (undefended, *chosen)
    tuned = dataclasses.replace(grid, name=f"{grid.name}-tuned", cells=cells)
    write_document(tuned.document(), path)
    most = max((len(labels) for labels in trials.families.values()), default=0)
    header = [
        f"What {grid.name} asks, with strengths tuned by: {command}",
        f"Up to {most} trials for each of {len(trials.families)} defenses, on halves of its public",
        "reference set: neither members of any model that this grid trains, nor its test set.",
        "trials.csv beside it lists every trial and the loss of accuracy for which it was chosen.",
    ]
    text = path.read_text(encoding="utf-8")
    path.write_text("".join(f"# {line}\n" for line in header) + text, encoding="utf-8")
    return len(chosen)
