"""Planted signals: synthetic models whose membership leak is known in closed form.

The logit-scaled confidence of model m in point i is `d_i + effect * member[m, i] + noise`, with
difficulty `d_i ~ N(0, spread^2)` and unit noise. No attack on the scores alone can beat an AUC of
`Phi(effect / sqrt(2))`, which knowing every `d_i` achieves; one threshold for all points has
`Phi(effect / sqrt(2 (1 + spread^2)))`.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from dpbench.attacks.base import Access, Bools, Floats, Ints, Oracle, View
from dpbench.seeds import rng_for

STEEPNESS = 20.0
"""How fast a model's confidence changes along its own direction, per unit of input."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Release:
    """What M planted models answer: linear in the input around each challenge point.

    Attributes:
        inputs: `(n, *shape)` the challenge points.
        labels: `(n,)` their labels.
        confidence: `(M, n)` logit-scaled confidence on the points themselves.
        others: `(M, n, C)` how the rest is shared among the other classes; 0 for the label.
        directions: `(M, *shape)` unit vectors along which confidence grows.
    """

    inputs: Floats
    labels: Ints
    confidence: Floats
    others: Floats
    directions: Floats

    def outputs(self) -> Floats:
        """Returns class probabilities `(M, n, C)`, float32 and read-only."""
        return self._probabilities(self.confidence)

    def query(self, inputs: Floats) -> Floats:
        """Returns class probabilities of inputs `(n, *shape)`, one near each challenge point."""
        if inputs.shape != self.inputs.shape:
            raise ValueError(f"inputs have shape {inputs.shape}, expected {self.inputs.shape}")
        moved = (inputs - self.inputs).reshape(len(inputs), -1)
        slopes = self.directions.reshape(len(self.directions), -1) @ moved.T
        return self._probabilities(self.confidence + STEEPNESS * slopes)

    def _probabilities(self, confidence: Floats) -> Floats:
        outputs = (self.others * expit(-confidence)[..., None]).astype(np.float32)
        outputs[:, np.arange(len(self.labels)), self.labels] = expit(confidence)
        outputs.flags.writeable = False
        return outputs


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """Planted models as targets and as shadows, and the bits that they hide.

    Attributes:
        members: `(M, n)` bits.
        target: What the targets answer.
        shadows: What the shadows answer: the same object when the attack is adaptive.
        effect: How much membership raises a target's confidence.
        spread: Standard deviation of the points' difficulty.
        binary: `(*shape)` bool, which features are binary.
    """

    members: Bools
    target: Release
    shadows: Release
    effect: float
    spread: float
    binary: Bools

    @property
    def calibrated_auc(self) -> float:
        """The AUC of the best attack on the scores: it knows how hard every point is."""
        return float(norm.cdf(self.effect / math.sqrt(2)))

    @property
    def global_auc(self) -> float:
        """The AUC of the best attack with one threshold for all points."""
        return float(norm.cdf(self.effect / math.sqrt(2 * (1 + self.spread**2))))

    def view(self, *, access: Access, budget: int | None = None, seed: int = 0) -> View:
        """Returns the adversary's view, with fresh oracles and a fresh generator."""
        target = _oracle(self.target, access=access, budget=budget)
        shape = self.target.inputs.shape[1:]
        return View(
            labels=self.target.labels,
            inputs=self.target.inputs,
            n_classes=self.target.others.shape[2],
            target=target,
            shadows=_oracle(self.shadows, access=access, budget=None),
            members=self.members,
            low=np.zeros(shape, np.float32),
            high=np.ones(shape, np.float32),
            unit=np.ones(shape, np.float32),
            binary=self.binary,
            is_image=len(shape) == 3,
            rng=rng_for(seed, "planted", "attack"),
        )


def plant(
    *,
    models: int,
    points: int,
    effect: float,
    seed: int,
    n_classes: int = 10,
    spread: float = 1.0,
    shadows_effect: float | None = None,
    shape: tuple[int, ...] = (16,),
) -> Planted:
    """Draws planted models.

    Args:
        models: Number of models M, each a target and a shadow of the others.
        points: Number of challenge points n.
        effect: How much membership raises a model's confidence, in units of its noise.
        seed: Everything follows from it.
        n_classes: Number of classes C.
        spread: Standard deviation of the points' difficulty.
        shadows_effect: The effect on separate shadows with the same bits and difficulties (a static
            attack); None makes every target its own row of shadows (an adaptive attack).
        shape: Shape of one input in [0, 1]: `(channels, height, width)` for images. In other shapes
            every other feature is binary.
    """
    rng = rng_for(seed, "planted", "points")
    # Images have grey levels; in other inputs every other feature is binary.
    binary = (np.arange(math.prod(shape)) % 2 == 1).reshape(shape) & (len(shape) != 3)
    uniform = rng.random((points, *shape), dtype=np.float32)
    inputs = np.where(binary, (uniform > 0.5).astype(np.float32), uniform)
    labels = rng.integers(n_classes, size=points)
    difficulty = spread * rng.standard_normal(points)
    members = rng.random((models, points)) < 0.5
    for constant in (inputs, labels, members):
        constant.flags.writeable = False

    def release(role: str, size: float) -> Release:
        rng = rng_for(seed, "planted", role)
        confidence = difficulty + size * members + rng.standard_normal((models, points))
        return _release(inputs, labels, confidence, n_classes=n_classes, rng=rng)

    target = release("target", effect)
    return Planted(
        members=members,
        target=target,
        shadows=target if shadows_effect is None else release("shadows", shadows_effect),
        effect=effect,
        spread=spread,
        binary=binary,
    )


def planted_view(
    *,
    models: int,
    points: int,
    effect: float,
    seed: int,
    access: Access = Access.SCORE,
    n_classes: int = 10,
    shadows_effect: float | None = None,
) -> tuple[View, Bools]:
    """Returns the view of an adversary on planted models, and their bits `(M, n)`.

    The arguments are those of `plant` and `Planted.view`.
    """
    planted = plant(
        models=models,
        points=points,
        effect=effect,
        seed=seed,
        n_classes=n_classes,
        shadows_effect=shadows_effect,
    )
    return planted.view(access=access, seed=seed), planted.members


def _release(
    inputs: Floats, labels: Ints, confidence: Floats, *, n_classes: int, rng: np.random.Generator
) -> Release:
    others = rng.standard_exponential((*confidence.shape, n_classes))
    others[:, np.arange(len(labels)), labels] = 0.0
    directions = rng.standard_normal((len(confidence), math.prod(inputs.shape[1:])))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return Release(
        inputs=inputs,
        labels=labels,
        confidence=confidence,
        others=others / others.sum(-1, keepdims=True),
        directions=directions.reshape(len(confidence), *inputs.shape[1:]),
    )


def _oracle(release: Release, *, access: Access, budget: int | None) -> Oracle:
    return Oracle(access=access, budget=budget, pool_outputs=release.outputs, query=release.query)
