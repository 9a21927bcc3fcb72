"""How the DP-SGD schedules of other grids than the default one were tuned, on public data.

    python -m bench.tune_dp_sgd_grids defenses tabular location    # minutes of one core each
    python -m bench.tune_dp_sgd_grids cnn

For every data set of a grid, each setting trains some models on random halves of the reference set,
so with about as many members as the grid's models have, and is judged on the other halves: neither
members nor test images of the grid are seen. For every epsilon the first trial is the schedule of
the default grid; the others draw a learning rate (log-uniform) and a number of full-batch steps,
the same draws at each epsilon. Around the best of the middle epsilon the batch, the clipping norm
and, for images, the copies of an example are varied one at a time. Writes
docs/tuning/GRID-DATASET.csv; `dpbench.defenses.dp_schedules` holds what was chosen.
"""

import dataclasses
import itertools
import sys
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dpbench.data import Population, load_population
from dpbench.defenses import Augmentation, Composition, DpSgd
from dpbench.game.network import network_of
from dpbench.seeds import rng_for
from dpbench.study.shipped import find_grid
from dpbench.study.spec import Grid, read_grids
from dpbench.training.fit import fit, predict
from dpbench.training.task import Task, TrainingData

FOLDER = Path("docs/tuning")
LOWEST, HIGHEST = 0.1, 30.0


class Search(NamedTuple):
    """How much is tried for a grid.

    Attributes:
        epsilons: Where the schedule is tuned; between them it is interpolated.
        trials: Draws for each epsilon, beside the schedule of the default grid.
        models: Models for each trial.
        steps: Numbers of full-batch steps that are drawn.
    """

    epsilons: tuple[float, ...]
    trials: int
    models: int
    steps: tuple[int, ...]


SEARCHES = {
    "defenses": Search((0.1, 1.0, 8.0, 128.0, 1e4), 12, 8, (25, 50, 100, 200)),
    "tabular": Search((1.0, 8.0, 128.0), 8, 4, (25, 50, 100)),
    "location": Search((1.0, 8.0, 128.0), 10, 4, (25, 50, 100)),
    "cnn": Search((2.0, 8.0, 32.0), 6, 2, (25, 50)),
}


def right_answers(
    grid: Grid, population: Population, cell: Composition, models: int
) -> tuple[Tensor, Tensor]:
    """Trains models on random halves of the reference set.

    Returns:
        Which answers `(models, n)` are right, float, and who was a member.
    """
    inputs = torch.from_numpy(population.reference_x)
    targets = torch.from_numpy(population.reference_y)
    members = torch.from_numpy(
        rng_for(grid.seed, "tune_dp_sgd").integers(2, size=(models, len(targets))) == 1
    )
    recipe = cell.adapt(grid.recipe)
    sampling = recipe.sampling(len(targets) / 2)
    network = network_of(grid.model, population, cell)
    task = Task(
        architecture=network.architecture,
        shape=network.shape,
        n_classes=network.n_classes,
        recipe=recipe,
        sampling=sampling,
        mechanism=cell.mechanism(sampling),
        loss=None,
        augment=cell.augment(),
        regularise=None,
        data=TrainingData(inputs, targets, inputs[:1], targets[:1]),
        members=members,
        seed=grid.seed,
        models=tuple(range(models)),
        checkpoints=(sampling.steps,),
    )
    weights = fit(task)[sampling.steps]
    right = predict(task, weights, inputs).argmax(-1) == targets
    return right.float(), members


def accuracy(grid: Grid, population: Population, cell: Composition, models: int) -> float:
    """Returns the mean accuracy on the halves that the models did not learn from."""
    right, members = right_answers(grid, population, cell, models)
    return float(right[~members].mean())


class Trials:
    """Every setting that was tried on one data set, and what came of it; goes on from its table."""

    def __init__(self, grid: Grid, search: Search, path: Path) -> None:
        self.grid, self.search, self.path = grid, search, path
        self.rows = pd.read_csv(path).to_dict("records") if path.exists() else []
        self.population = load_population(grid.population, seed=grid.seed, data_dir=None)

    def record(self, kind: str, defense: DpSgd, *beside: Augmentation) -> float:
        """Tries one setting where the table lacks it, and returns its accuracy."""
        cell = Composition((*beside, defense))
        for row in self.rows:
            if row["cell"] == cell.label:
                return float(row["accuracy"])
        started = time.process_time()
        models = self.search.models
        value = accuracy(self.grid, self.population, cell, models)
        seconds = time.process_time() - started
        recipe = cell.adapt(self.grid.recipe)
        facts: dict[Hashable, Any] = {
            "steps": recipe.epochs,
            "lr": recipe.lr,
            "models": models,
            "accuracy": value,
        }
        self.rows.append({"search": kind, "cell": cell.label, "epsilon": defense.epsilon, **facts})
        pd.DataFrame(self.rows).to_csv(self.path, index=False, float_format="%.6g")
        print(f"{cell.label} -> {value:.4f} ({seconds:.1f} s)", flush=True)
        return value

    def run(self) -> None:
        """Draws schedules for every epsilon, then varies the rest around one of them."""
        rng = rng_for(self.grid.seed, "tune_dp_sgd", "schedules")
        low, high = np.log([LOWEST, HIGHEST])
        # Stratified: one draw in each part of the interval.
        parts = (rng.permutation(self.search.trials) + rng.random(self.search.trials)) / (
            self.search.trials
        )
        rates = [float(f"{rate:.3g}") for rate in np.exp(low + (high - low) * parts)]
        steps = rng.choice(self.search.steps, size=self.search.trials).tolist()
        best = dict[float, tuple[float, DpSgd]]()
        for epsilon in self.search.epsilons:
            drawn = [
                DpSgd(epsilon=epsilon, lr=lr, epochs=float(count))
                for lr, count in zip(rates, steps, strict=True)
            ]
            tried = [(self.record("drawn", one), one) for one in drawn]
            tried.append((self.record("default", DpSgd(epsilon=epsilon)), DpSgd(epsilon=epsilon)))
            best[epsilon] = max(tried, key=lambda pair: pair[0])
        self._scaled(best)
        self._around(best[8.0][1])

    def _scaled(self, best: dict[float, tuple[float, DpSgd]]) -> None:
        """Where noise dominates, the best rate falls like epsilon: carries each best one down."""
        for strict, looser in itertools.pairwise(self.search.epsilons):
            recipe = best[looser][1].adapt(self.grid.recipe)
            lr = float(f"{recipe.lr * strict / looser:.3g}")
            self.record("scaled", DpSgd(epsilon=strict, lr=lr, epochs=recipe.epochs))

    def _around(self, best: DpSgd) -> None:
        recipe = best.adapt(self.grid.recipe)
        whole = dataclasses.replace(best, lr=recipe.lr, epochs=recipe.epochs)
        changes: list[dict[str, Any]] = [
            {"max_grad_norm": 0.3, "lr": recipe.lr / 0.3},
            {"max_grad_norm": 3.0, "lr": recipe.lr / 3.0},
            {"batch_size": max(1, len(self.population.reference_y) // 8)},
        ]
        for change in changes:
            self.record("around", dataclasses.replace(whole, **change))
        if self.population.is_image:
            for copies in (1, 4):
                several = dataclasses.replace(whole, augmentations=copies)
                self.record("around", several, Augmentation(pixels=1))


def main(names: list[str]) -> None:
    """Writes a table for every data set of the named grids."""
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    for name in names:
        for grid in read_grids(find_grid(name)):
            path = FOLDER / f"{name}-{grid.population.dataset}.csv"
            Trials(grid, SEARCHES[name], path).run()


if __name__ == "__main__":
    main(sys.argv[1:] or list(SEARCHES))
