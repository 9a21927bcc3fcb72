"""Claims 11 and 17: training with shifted and mirrored copies, which no grid can ask for yet.

A member enters the training set with its 18 views (itself and eight shifts by one pixel, each also
mirrored), a non-member with none: all copies of a pool example share its bit. The plain models see
the example alone, on the same bits. Both are then attacked with the example as the secret.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.numpy import load_file, save_file

from bench.claims.evidence import (
    ACCURACY,
    AUC,
    TPR01,
    Bools,
    Floats,
    Line,
    Table,
    at_least,
    difference,
    total,
)
from bench.claims.runs import Study
from dpbench.attacks import (
    Attack,
    Augmentation,
    BoundaryDistance,
    Gap,
    Lira,
    Malt,
    Oracle,
    View,
)
from dpbench.attacks.augmented import augmented
from dpbench.attacks.base import Ints
from dpbench.data import Population, PopulationSpec, load_population, membership
from dpbench.models import MLP
from dpbench.seeds import rng_for
from dpbench.training.fit import fit, logits
from dpbench.training.recipe import Recipe
from dpbench.training.task import Task, TrainingData, Weights

IMAGES = {"fashion_mnist": 0.05, "cifar10": 0.02}
"""Image sets, and the learning rates of their claims grids."""
MODELS, POOL, VIEWS, SEED = 32, 1000, 18, 0
NET = MLP(hidden=(128,))
QUERIES = (1, 2, 18, 162)
ATTACKS: dict[str, Attack] = {
    "gap": Gap(),
    "malt": Malt(),
    "boundary distance": BoundaryDistance(queries=1000, models=4, points=300),
    "translations": Augmentation(transform="translations", magnitude=1),
    **{f"lira {queries}": Lira(queries=queries) for queries in QUERIES},
}


def lines(study: Study, data: str) -> Iterator[Line]:
    """Yields these claims on an image set; nothing on others."""
    if data in IMAGES:
        plain, copies = (measured(study.folder, data, views) for views in (1, VIEWS))
        yield from queries_help(plain, copies, data)
        yield from translations(plain, copies, data)


def queries_help(plain: dict[str, Table], copies: dict[str, Table], data: str) -> Iterator[Line]:
    """Claim 11."""
    for tables, what in ((copies, "trained with copies"), (plain, "trained without")):
        found = {queries: tables[f"lira {queries}"] for queries in QUERIES}
        gain = difference(found[VIEWS][AUC], found[1][AUC])
        shown = ", ".join(
            f"{queries}: {scored[AUC].value:.3f} / {scored[TPR01].value:.3f}"
            for queries, scored in found.items()
        )
        helps = gain if tables is copies else total((-1, gain))
        verdict = "help" if tables is copies else "do not help"
        yield Line(
            11.1,
            f"{what}, more augmented queries {verdict} LiRA",
            data,
            f"AUC / TPR at FPR 0.1% by queries: {shown}; gain in AUC from 1 to {VIEWS} {gain}",
            at_least(helps.interval),
        )
    found = {queries: copies[f"lira {queries}"][AUC] for queries in QUERIES}
    early = total((2, found[2]), (-1, found[1]), (-1, found[VIEWS]))
    yield Line(
        11.2,
        "the second query brings more than all others up to 18",
        data,
        f"gain of the second minus gain of the rest {early}",
        at_least(early.interval),
    )


def translations(plain: dict[str, Table], copies: dict[str, Table], data: str) -> Iterator[Line]:
    """Claim 17."""
    for name in ("malt", "boundary distance"):
        fall = difference(plain[name][ACCURACY], copies[name][ACCURACY])
        yield Line(
            17.1,
            f"training with shifted copies lowers {name}",
            data,
            f"accuracy {plain[name][ACCURACY].value:.3f} plain, "
            f"{copies[name][ACCURACY].value:.3f} with copies, fall {fall}",
            at_least(fall.interval),
        )
    before, after = plain["translations"][ACCURACY], copies["translations"][ACCURACY]
    rise = difference(after, before)
    yield Line(
        17.2,
        "training with shifted copies raises the attack that queries these shifts",
        data,
        f"accuracy {before.value:.3f} plain, {after.value:.3f} with copies, rise {rise}; gap "
        f"attack {plain['gap'][ACCURACY].value:.3f} and {copies['gap'][ACCURACY].value:.3f}, "
        f"LiRA with {VIEWS} queries {plain[f'lira {VIEWS}'][ACCURACY].value:.3f} and "
        f"{copies[f'lira {VIEWS}'][ACCURACY].value:.3f}",
        at_least(rise.interval),
    )


def measured(folder: Path, data: str, views: int) -> dict[str, Table]:
    """Returns every attack's table on models trained with that many views; kept in a file."""
    rate = IMAGES[data]
    population = load_population(
        PopulationSpec(dataset=data, pool=POOL, test=1000, reference=1000, average_pool=2),
        seed=SEED,
        data_dir=None,
    )
    members = membership(population, models=MODELS, seed=SEED)
    path = folder / f"{data}-views-{views}.safetensors"
    asked = {name: json.dumps(attack.identity()) for name, attack in ATTACKS.items()}
    known = load_file(path) if path.is_file() else {}
    missing = [name for name, identity in asked.items() if identity not in known]
    if missing:
        print(f"{data} with {views} views: {', '.join(missing)}", flush=True)
        models = _Models(population, train(population, members, views, rate))
        for name in missing:
            scores = ATTACKS[name].score(_view(population, members, models, ATTACKS[name]))
            known[asked[name]] = np.ascontiguousarray(scores, dtype=np.float64)
        save_file(known, path)
    return {
        name: Table(known[key], members[tuple(map(slice, known[key].shape))])
        for name, key in asked.items()
    }


def train(population: Population, members: Bools, views: int, rate: float) -> Weights:
    """Trains all models on the first views of their members, for about as many steps each."""
    pool = population.pool_x
    copies = [pool if copy is None else copy for copy in augmented(pool, views)]
    recipe = Recipe(
        epochs=60.0 if views == 1 else 12.0,
        batch_size=32 if views == 1 else 64,
        lr=rate,
        momentum=0.9,
    )
    sampling = recipe.sampling(views * population.expected_members)
    task = Task(
        architecture=NET,
        shape=population.shape,
        n_classes=population.n_classes,
        recipe=recipe,
        sampling=sampling,
        mechanism=None,
        loss=None,
        regularise=None,
        data=TrainingData(
            inputs=torch.from_numpy(np.concatenate(copies)),
            targets=torch.from_numpy(np.tile(population.pool_y, views)),
            reference_inputs=torch.from_numpy(population.reference_x),
            reference_targets=torch.from_numpy(population.reference_y),
        ),
        members=torch.from_numpy(np.tile(members, (1, views))),
        seed=SEED,
        models=tuple(range(MODELS)),
        checkpoints=(sampling.steps,),
    )
    return fit(task)[sampling.steps]


class _Models(NamedTuple):
    """Trained models that answer with probabilities."""

    population: Population
    weights: Weights

    def on(self, inputs: Floats, chosen: slice | Ints) -> Floats:
        """Returns outputs `(k, N, C)` of the chosen models on inputs `(N, *shape)`."""
        values = logits(
            NET,
            {name: value[chosen] for name, value in self.weights.items()},
            torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32)),
            shape=self.population.shape,
            n_classes=self.population.n_classes,
        )
        return values.softmax(-1).numpy()

    def on_each(self, models: Ints, points: Ints, inputs: Floats) -> Floats:
        """Returns outputs `(k, b, C)` of models `(k,)` on inputs `(k, b, *shape)` of their own."""
        del points  # models answer alike on whoever's account
        shape, classes = self.population.shape, self.population.n_classes
        outputs = np.empty((*inputs.shape[:2], classes), np.float32)
        for model in np.unique(models):
            rows = np.flatnonzero(models == model)
            own = self.on(inputs[rows].reshape(-1, *shape), np.array([model]))
            outputs[rows] = own[0].reshape(len(rows), -1, classes)
        return outputs


def _view(population: Population, members: Bools, models: _Models, attack: Attack) -> View:
    count, points = attack.extent.of(*members.shape)
    kept, pool = slice(count), population.pool_x[:points]
    oracle = Oracle(
        access=attack.access,
        budget=attack.budget,
        pool_outputs=lambda: models.on(pool, kept),
        query=lambda inputs: models.on(inputs, kept),
        query_each=models.on_each,
    )
    return View(
        labels=population.pool_y[:points],
        inputs=pool,
        n_classes=population.n_classes,
        target=oracle,
        shadows=oracle,
        members=members[:count, :points],
        reference_inputs=population.reference_x,
        reference_labels=population.reference_y,
        low=population.low,
        high=population.high,
        unit=population.unit,
        binary=population.binary,
        is_image=population.is_image,
        rng=rng_for(SEED, "attack", attack.name),
    )
