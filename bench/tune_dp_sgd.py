"""How the DP-SGD schedule was tuned: on the reference set, which is neither members nor test.

    python -m bench.tune_dp_sgd      # about 40 minutes on one core; writes docs/tuning.csv

Every setting trains eight models, each on a random half of the reference set of the default grid,
and is judged on the other half. The learning rate is searched on a grid by factors of 1.5, for each
epsilon and number of full-batch steps, at clipping norm 1 with no momentum and the weights of the
second half averaged; a second pass varies one other choice at a time around the best point.
"""

import dataclasses
import itertools
import math
from pathlib import Path

import pandas as pd
import torch

from dpbench import privacy
from dpbench.data import PopulationSpec, load_population
from dpbench.models import MLP
from dpbench.training import dense
from dpbench.training.recipe import Recipe
from dpbench.training.task import Mechanism, Task, TrainingData

MODELS, DELTA = 8, 1e-5
EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, math.inf)
STEPS = (50, 100)
RATES = tuple(0.4 * 1.5**power for power in range(10))
BASE = Recipe(epochs=100, sampling_rate=1.0, momentum=0.0, schedule="constant", averaging=0.5)


class Bench:
    """The reference set of the default grid, split at random into halves for every model."""

    def __init__(self) -> None:
        spec = PopulationSpec(dataset="fashion_mnist", pool=5000, average_pool=2)
        population = load_population(spec, seed=0, data_dir=None)
        self.inputs = torch.from_numpy(population.reference_x)
        self.targets = torch.from_numpy(population.reference_y)
        self.shape = population.shape
        generator = torch.Generator().manual_seed(1)
        self.members = torch.rand(MODELS, len(self.inputs), generator=generator) < 0.5

    def accuracy(self, epsilon: float, recipe: Recipe, norm: float) -> float:
        """Mean accuracy on the halves that the models did not learn from."""
        sampling = recipe.sampling(len(self.inputs) / 2)
        sigma = privacy.calibrate(
            epsilon=epsilon, delta=DELTA, sampling_rate=sampling.rate, steps=sampling.steps
        )
        task = Task(
            architecture=MLP(hidden=(128,)),
            shape=self.shape,
            n_classes=10,
            recipe=recipe,
            sampling=sampling,
            mechanism=Mechanism(max_grad_norm=norm, noise_multiplier=sigma),
            loss=None,
            regularise=None,
            data=TrainingData(self.inputs, self.targets, self.inputs[:1], self.targets[:1]),
            members=self.members,
            seed=0,
            models=tuple(range(MODELS)),
            checkpoints=(sampling.steps,),
        )
        weights = dense.fit(task)[sampling.steps]
        scores = dense.logits(
            task.architecture, weights, self.inputs, shape=self.shape, n_classes=10
        )
        right = scores.argmax(-1) == self.targets
        return float(right[~self.members].float().mean())


def main() -> None:
    """Searches steps and learning rate per epsilon, then varies the rest around the best."""
    torch.set_num_threads(1)
    bench, rows = Bench(), []

    def record(epsilon: float, recipe: Recipe, norm: float = 1.0) -> None:
        value = bench.accuracy(epsilon, recipe, norm)
        row = {"epsilon": epsilon, "max_grad_norm": norm, **recipe.to_json(), "accuracy": value}
        rows.append(row)
        print(
            f"eps {epsilon:g} steps {recipe.epochs:g} lr {recipe.lr:.3g} -> {value:.4f}", flush=True
        )

    for epsilon, steps in itertools.product(EPSILONS, STEPS):
        for rate in RATES:
            record(epsilon, dataclasses.replace(BASE, epochs=float(steps), lr=rate))
    for epsilon in (2.0, 8.0):
        best = max((r for r in rows if r["epsilon"] == epsilon), key=lambda r: r["accuracy"])
        around = dataclasses.replace(BASE, epochs=best["epochs"], lr=best["lr"])
        for norm in (0.3, 3.0):
            record(epsilon, dataclasses.replace(around, lr=around.lr / norm), norm)
        for changes in (
            {"momentum": 0.9, "lr": around.lr * 0.1},
            {"averaging": 0.0},
            {"schedule": "linear"},
            {"sampling_rate": 0.5, "epochs": around.epochs * 0.5},
            {"sampling_rate": 0.25, "epochs": around.epochs * 0.25},
        ):
            record(epsilon, dataclasses.replace(around, **changes))
    Path("docs").mkdir(exist_ok=True)
    pd.DataFrame(rows).to_csv("docs/tuning.csv", index=False, float_format="%.6g")


if __name__ == "__main__":
    main()
