"""How the DP-SGD schedule was tuned: on the reference set, which is neither members nor test.

    python -m bench.tune_dp_sgd         # about an hour on one core; writes docs/tuning.csv
    python -m bench.tune_dp_sgd ends    # a third of that; searches the ends of the range anew

Every setting trains eight models, each on a random half of the reference set of the default grid,
and is judged on the other half. The learning rate is searched on a grid by factors of 1.5, for each
epsilon and number of full-batch steps, at clipping norm 1 with no momentum and the weights of the
second half averaged; a second pass varies one other choice at a time around the best point. A
third, coarser, looks at the ends of the range, where the answer might be another one: fewer steps
at epsilon 0.1; more steps, small batches and longer clipping norms where noise is negligible; and
at Adam. The undefended recipe of the default grid stands beside them.
"""

import dataclasses
import itertools
import math
import sys
from pathlib import Path

import pandas as pd
import torch

from dpbench import privacy
from dpbench.data import PopulationSpec, load_population
from dpbench.models import MLP
from dpbench.training.fit import DENSE, predict
from dpbench.training.recipe import Recipe
from dpbench.training.task import Mechanism, Task, TrainingData

MODELS, DELTA = 8, 1e-5
EPSILONS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, math.inf)
STEPS = (50, 100)
RATES = tuple(0.4 * 1.5**power for power in range(10))
BASE = Recipe(epochs=100, sampling_rate=1.0, momentum=0.0, schedule="constant", averaging=0.5)

UNDEFENDED = Recipe(epochs=40, batch_size=64, lr=0.05, momentum=0.9, schedule="cosine")
TABLE = Path("docs/tuning.csv")


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
        """Mean accuracy on the halves that the models did not learn from.

        An infinite norm is training without a defense.
        """
        sampling = recipe.sampling(len(self.inputs) / 2)
        mechanism = None
        if norm < math.inf:
            sigma = privacy.calibrate(
                epsilon=epsilon, delta=DELTA, sampling_rate=sampling.rate, steps=sampling.steps
            )
            mechanism = Mechanism(max_grad_norm=norm, noise_multiplier=sigma)
        task = Task(
            architecture=MLP(hidden=(128,)),
            shape=self.shape,
            n_classes=10,
            recipe=recipe,
            sampling=sampling,
            mechanism=mechanism,
            loss=None,
            regularise=None,
            data=TrainingData(self.inputs, self.targets, self.inputs[:1], self.targets[:1]),
            members=self.members,
            seed=0,
            models=tuple(range(MODELS)),
            checkpoints=(sampling.steps,),
        )
        weights = DENSE.fit(task)[sampling.steps]
        scores = predict(task, weights, self.inputs)
        right = scores.argmax(-1) == self.targets
        return float(right[~self.members].float().mean())


class Trials:
    """Every setting that was tried, and what came of it."""

    def __init__(self, search: str) -> None:
        self.bench, self.search, self.rows = Bench(), search, list[dict[str, object]]()

    def record(self, epsilon: float, recipe: Recipe, norm: float = 1.0) -> float:
        """Tries one setting, and returns its accuracy."""
        value = self.bench.accuracy(epsilon, recipe, norm)
        changed = {k: v for k, v in recipe.to_json().items() if v != BASE.to_json()[k]}
        tried = {"search": self.search, "epsilon": epsilon, "max_grad_norm": norm}
        self.rows.append({**tried, **recipe.to_json(), "accuracy": value})
        print(f"eps {epsilon:g} norm {norm:g} {changed} -> {value:.4f}", flush=True)
        return value


def search_main() -> Trials:
    """Searches steps and learning rate per epsilon, then varies the rest around the best."""
    trials = Trials("main")
    best: dict[float, tuple[float, Recipe]] = {}
    for epsilon, steps, rate in itertools.product(EPSILONS, STEPS, RATES):
        recipe = dataclasses.replace(BASE, epochs=float(steps), lr=rate)
        value = trials.record(epsilon, recipe)
        if epsilon not in best or value > best[epsilon][0]:
            best[epsilon] = value, recipe
    for epsilon in (2.0, 8.0):
        around = best[epsilon][1]
        for norm in (0.3, 3.0):
            trials.record(epsilon, dataclasses.replace(around, lr=around.lr / norm), norm)
        for changes in (
            {"momentum": 0.9, "lr": around.lr * 0.1},
            {"averaging": 0.0},
            {"schedule": "linear"},
            {"sampling_rate": 0.5, "epochs": around.epochs * 0.5},
            {"sampling_rate": 0.25, "epochs": around.epochs * 0.25},
        ):
            trials.record(epsilon, dataclasses.replace(around, **changes))
    return trials


def search_ends() -> Trials:
    """Searches epsilon 0.1, epsilons that promise nothing, and Adam."""
    trials = Trials("ends")
    trials.record(math.inf, UNDEFENDED, math.inf)
    for steps, rate in itertools.product((30.0, 100.0), (0.05, 0.1, 0.2, 0.4)):
        trials.record(0.1, dataclasses.replace(BASE, epochs=steps, lr=rate))
    for epsilon, rate in itertools.product((100.0, 1e4, math.inf), (8.0, 15.0, 25.0)):
        trials.record(epsilon, dataclasses.replace(BASE, epochs=200.0, lr=rate))
    trials.record(1e4, dataclasses.replace(BASE, epochs=500.0, lr=15.0))
    small = dataclasses.replace(BASE, sampling_rate=64 / 2500, epochs=40.0)
    for norm, rate in itertools.product((1.0, 3.0, 10.0), (0.1, 0.3, 1.0)):
        trials.record(1e4, dataclasses.replace(small, lr=rate / norm), norm)
    trials.record(1e4, dataclasses.replace(small, epochs=80.0, lr=0.03), 10.0)
    trials.record(1e4, dataclasses.replace(UNDEFENDED, sampling_rate=64 / 2500), 10.0)
    for epsilon, rate in itertools.product((1.0, 8.0, 1e4), (0.003, 0.01, 0.03)):
        trials.record(epsilon, dataclasses.replace(BASE, optimizer="adam", lr=rate))
    return trials


def main(searches: list[str]) -> None:
    """Replaces the trials of these searches in the table."""
    torch.set_num_threads(1)
    known = {"main": search_main, "ends": search_ends}
    tables = [pd.DataFrame(known[name]().rows) for name in searches]
    if TABLE.exists():
        old = pd.read_csv(TABLE)
        tables.append(old[~old["search"].isin(searches)])
    table = pd.concat(tables).sort_values("search", ascending=False, kind="stable")
    table.to_csv(TABLE, index=False, float_format="%.6g")


if __name__ == "__main__":
    main(sys.argv[1:] or ["main", "ends"])
