"""The Gaussian toy of the reference simulation: its data, its models and what attacks see of them.

Features are unit Gaussians around class means, divided by sqrt(d); a constant column of 0.3 stands
for the bias. The engine's networks have a bias of their own, whose input is 1. Dividing features
and constant by 0.3 gives them the same column, and turns learning rate, decay and clipping norm
into lr * 0.3^2, decay / 0.3^2 and norm / 0.3: every iterate is the same model.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, nn

from dpbench.arrays import Bools, Floats
from dpbench.attacks import Access, Attack, Oracle, View
from dpbench.models.dense_layer import DenseArchitecture, DenseLayer
from dpbench.models.network import Network
from dpbench.seeds import rng_for
from dpbench.training.ensemble import Ensemble
from dpbench.training.fit import fit, logits
from dpbench.training.recipe import Recipe
from dpbench.training.task import Mechanism, Task, TrainingData, Weights

Ints = NDArray[np.int64]

CONSTANT = 0.3
MEANS, LABEL_NOISE = 0.17, 0.03
LR, MOMENTUM = 3.0, 0.9
UNCLIPPED = 1e6
"""A clipping norm that no gradient reaches: plain gradient descent over all members."""


@dataclass(frozen=True, kw_only=True)
class FromZero(DenseArchitecture):
    """Softmax regression that starts at zero: training has no randomness but the members."""

    def layers(self, shape: tuple[int, ...], n_classes: int) -> tuple[DenseLayer, ...]:
        """Returns the single layer."""
        return (DenseLayer("1", math.prod(shape), n_classes),)

    def build(self, shape: tuple[int, ...], n_classes: int, generator: Generator) -> nn.Module:
        """Returns the module with all weights zero."""
        module = super().build(shape, n_classes, generator)
        for parameter in module.parameters():
            nn.init.zeros_(parameter)
        return module


class Size(NamedTuple):
    """How large a replication is; the defaults are the reference's, except `public`.

    Attributes:
        pool: Number n of pool points.
        classes: Number K of classes.
        features: Dimension d, without the constant.
        shadows: Models that every target is attacked with.
        targets: Models under attack, none of which is a shadow.
        test: Test points.
        public: Points z of RMIA.
    """

    pool: int = 1000
    classes: int = 10
    features: int = 300
    shadows: int = 64
    targets: int = 24
    test: int = 2000
    public: int = 2000


class Column(NamedTuple):
    """One defense.

    Attributes:
        name: Heading.
        steps: Steps T of full-batch descent.
        decay: L2 strength, the gradient of decay/2 |W|^2.
        mu: Gaussian-DP parameter of the noise, 0 for none.
        norm: Clipping norm.
    """

    name: str
    steps: int = 150
    decay: float = 0.0
    mu: float = 0.0
    norm: float = UNCLIPPED


COLUMNS = (
    Column("undefended"),
    Column("L2 1e-3", decay=1e-3),
    Column("L2 1e-1", decay=1e-1),
    Column("early stop T=10", steps=10),
    Column("DP-GD μ=2", steps=100, mu=2.0, norm=0.5),
    Column("DP-GD μ=.5", steps=100, mu=0.5, norm=0.5),
)


class Draw(NamedTuple):
    """One replication's points, as the engine is given them, and who is a member of which model.

    Attributes:
        pool_x, pool_y: `(n, d)` and `(n,)`.
        test_x, test_y, public_x, public_y: More of the same distribution, noisy labels included.
        members: `(shadows + targets, n)` independent coins, shadows first.
    """

    pool_x: Floats
    pool_y: Ints
    test_x: Floats
    test_y: Ints
    public_x: Floats
    public_y: Ints
    members: Bools


def draw(size: Size, replication: int) -> Draw:
    """Draws means, points, labels and coins; every replication has its own."""
    rng = rng_for(replication, "simulation")
    means = MEANS * rng.standard_normal((size.classes, size.features))
    parts: list[NDArray[np.generic]] = []
    for points in (size.pool, size.test, size.public):
        true = rng.integers(size.classes, size=points)
        features = means[true] + rng.standard_normal((points, size.features))
        wrong = rng.random(points) < LABEL_NOISE
        labels = np.where(wrong, rng.integers(size.classes, size=points), true)
        parts += [(features / math.sqrt(size.features) / CONSTANT).astype(np.float32), labels]
    members = rng.random((size.shadows + size.targets, size.pool)) < 0.5
    return Draw(*parts, members)  # type: ignore[arg-type]


def train(drawn: Draw, size: Size, column: Column, *, seed: int) -> Weights:
    """Trains shadows and targets: all members at each step, their sum divided by half the pool."""
    half = size.pool / 2
    sigma = math.sqrt(column.steps) / column.mu if column.mu else 0.0
    recipe = Recipe(
        epochs=float(column.steps),
        sampling_rate=1.0,
        lr=LR * CONSTANT**2,
        momentum=MOMENTUM,
        weight_decay=column.decay / CONSTANT**2,
        schedule="constant",
    )
    task = Task(
        architecture=FromZero(),
        shape=(size.features,),
        n_classes=size.classes,
        recipe=recipe,
        sampling=recipe.sampling(half),
        mechanism=Mechanism(max_grad_norm=column.norm / CONSTANT, noise_multiplier=sigma),
        loss=None,
        regularise=None,
        data=TrainingData(*map(torch.from_numpy, drawn[:2]), *map(torch.from_numpy, drawn[4:6])),
        members=torch.from_numpy(drawn.members),
        seed=seed,
        models=tuple(range(len(drawn.members))),
        checkpoints=(column.steps,),
    )
    return fit(task)[column.steps]


class Outputs(NamedTuple):
    """Logits of all models, and the distance of every pool point from their boundaries.

    Attributes:
        pool, test, public: `(M, n, C)` float32 logits.
        distance: `(M, n)` in feature space, 0 where the model errs.
    """

    pool: Floats
    test: Floats
    public: Floats
    distance: Floats


def observe(drawn: Draw, size: Size, weights: Weights) -> Outputs:
    """Asks all models about all points."""
    models = Ensemble(Network(FromZero(), (size.features,), size.classes), weights)
    pool, test, public = (
        logits(models, torch.from_numpy(inputs)).numpy()
        for inputs in (drawn.pool_x, drawn.test_x, drawn.public_x)
    )
    matrix = weights["1.weight"].numpy().astype(np.float64)
    return Outputs(pool, test, public, boundary_distance(pool, drawn.pool_y, matrix))


def boundary_distance(values: Floats, labels: Ints, weights: Floats) -> Floats:
    """Returns `min_{k != y} (z_y - z_k) / |w_y - w_k|` of linear models, 0 where it is negative.

    Args:
        values: `(M, n, C)` logits z.
        labels: `(n,)` labels y.
        weights: `(M, C, d)` rows w, without biases.
    """
    squares = np.square(weights).sum(-1)
    products = weights @ weights.transpose(0, 2, 1)
    between = np.sqrt(np.maximum(squares[:, :, None] + squares[:, None] - 2 * products, 1e-30))
    own = np.take_along_axis(values, labels[None, :, None], axis=2).astype(np.float64)
    distances = (own - values) / between[:, labels]
    distances[:, np.arange(len(labels)), labels] = np.inf
    nearest: Floats = np.maximum(distances.min(2), 0)
    return nearest


def attacked(attack: Attack, drawn: Draw, outputs: Outputs, size: Size) -> Floats:
    """Returns the scores `(targets, n)` of an attack whose shadows are the shadow models alone.

    Each target is shown to the attack as one more model beside the shadows. Leave-one-out scores
    of its row then rest on the shadows, and neither on another target nor on its own bit.
    """
    pool, public = released(outputs.pool), released(outputs.public)
    shadows = list(range(size.shadows))
    rows = []
    for target in range(size.shadows, len(drawn.members)):
        models = [*shadows, target]
        oracle = Oracle(
            access=Access.SCORE,
            budget=attack.budget,
            pool_outputs=lambda models=models: pool[models],  # type: ignore[misc]
            query=lambda inputs, models=models: public[models],  # type: ignore[misc]
        )
        rows.append(attack.score(view_of(drawn, oracle, drawn.members[models], size))[-1])
    return np.stack(rows)


def released(values: Floats) -> Floats:
    """Returns float32 probabilities, as models release them."""
    return torch.from_numpy(values).softmax(-1).numpy()


def view_of(drawn: Draw, oracle: Oracle, members: Bools, size: Size) -> View:
    """Returns the adversary's view of some models; the only queries are the public points."""
    return View(
        labels=drawn.pool_y,
        inputs=drawn.pool_x,
        n_classes=size.classes,
        target=oracle,
        shadows=oracle,
        members=members,
        reference_inputs=drawn.public_x,
        reference_labels=drawn.public_y,
        low=drawn.public_x.min(0),
        high=drawn.public_x.max(0),
        unit=np.ones(size.features, np.float32),
        binary=np.zeros(size.features, bool),
        is_image=False,
        rng=rng_for(0, "simulation", "attack"),
    )


def columns(size: Size, replication: int) -> Iterator[tuple[Column, Draw, Outputs]]:
    """Yields what every defense's models answer in one replication."""
    drawn = draw(size, replication)
    for column in COLUMNS:
        yield column, drawn, observe(drawn, size, train(drawn, size, column, seed=replication))
