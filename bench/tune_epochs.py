"""For how many epochs should undefended models train? Tuned on public data, for the shipped grids.

    python -m bench.tune_epochs                   # a few minutes of one core
    python -m bench.tune_epochs cnn               # another one

Models train on random halves of the reference set, so with about as many members as the grid's own
models, for several lengths of the whole schedule; all else is the grid's recipe. They are judged on
the other halves: no member and no test example of the grid is seen. `gap` is what training longer
costs: the accuracy on members minus that on others, the advantage of the weakest attack. Chosen is
the shortest schedule that is as accurate as the best, up to `SLACK`. Writes docs/tuning/epochs.csv.
"""

import dataclasses
import sys
from pathlib import Path

import pandas as pd
import torch

from bench.tune_dp_sgd_grids import right_answers
from dpbench.data import load_population
from dpbench.defenses import Composition, OwnRecipe
from dpbench.study.shipped import find_grid
from dpbench.study.spec import Grid, read_grids
from dpbench.tuning.choose import SLACK

TABLE = Path("docs/tuning/epochs.csv")
GRIDS = ("default", "defenses", "tabular", "location")
EPOCHS = (2, 4, 8, 12, 16, 20, 30, 40, 60)
MODELS = {"cnn": 4, "location": 8}


def sweep(grid: Grid, models: int) -> pd.DataFrame:
    """Returns one row for every length of the schedule."""
    population = load_population(grid.population, seed=grid.seed, data_dir=None)
    rows = []
    for epochs in EPOCHS:
        cell = Composition((OwnRecipe(epochs=float(epochs)),))
        right, members = right_answers(grid, population, cell, models)
        held_out = float(right[~members].mean())
        # Models share their images, so the spread between models alone would be too small.
        rows.append(
            {
                "grid": grid.name,
                "epochs": epochs,
                "models": models,
                "accuracy": held_out,
                "gap": float(right[members].mean()) - held_out,
            }
        )
        print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    good = table["accuracy"] >= table["accuracy"].max() - SLACK
    table["chosen"] = table.index == good.idxmax()
    return table


def main(names: list[str]) -> None:
    """Replaces the rows of these grids in the table."""
    torch.set_num_threads(1)
    tables = [sweep(grid, MODELS.get(name, 16)) for name in names for grid in _grids(name)]
    if TABLE.exists():
        old = pd.read_csv(TABLE)
        new = {name for table in tables for name in table["grid"]}
        tables.insert(0, old[~old["grid"].isin(new)])
    TABLE.parent.mkdir(exist_ok=True)
    pd.concat(tables).to_csv(TABLE, index=False, float_format="%.4f")


def _grids(name: str) -> tuple[Grid, ...]:
    # A sweep of its own: the canaries of a grid do not matter here.
    return tuple(dataclasses.replace(grid, canaries=None) for grid in read_grids(find_grid(name)))


if __name__ == "__main__":
    main(sys.argv[1:] or list(GRIDS))
