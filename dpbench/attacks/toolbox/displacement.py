"""A learned displacement: from a model's weight and its proxy's to the weight of the attack.

Subtraction is `D(a, b) = a - b`. The general attack of Leino and Fredrikson 2020 learns D instead,
on models whose members are known: here subtraction plus a small network of ReLU units, the same for
every feature and every class, whose output starts at zero.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

from dpbench.arrays import Bools, Floats, Ints

_UNITS = 16
_STEPS = 60
_RATE = 0.02
_DECAY = 1e-3
"""Squared-norm penalty that draws D back to subtraction."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Displacement:
    """`D(a, b) = scale (s a + t b + last . relu(first (a, b, 1)))`; the evidence adds an offset.

    Attributes:
        parameters: `(2 + 4 units + 1,)`: s, t; first, unit by unit; last; the offset.
        scale: Size of a typical weight: D works in units of it.
    """

    parameters: Floats
    scale: float

    @classmethod
    def subtraction(cls, scale: float, rng: np.random.Generator) -> Self:
        """Returns a - b, with random units that count for nothing yet."""
        first = rng.standard_normal((_UNITS, 3))
        return cls(
            parameters=np.concatenate([[1.0, -1.0], first.ravel(), np.zeros(_UNITS + 1)]),
            scale=scale,
        )

    def __call__(self, weights: Floats, proxies: Floats) -> Floats:
        """Returns the attack's weights, in the shape and precision of the arguments."""
        return self.forward(self.given(weights, proxies))[0].reshape(weights.shape)

    @property
    def offset(self) -> float:
        """Log odds where all attack weights are zero."""
        return float(self.parameters[-1])

    def given(self, weights: Floats, proxies: Floats) -> Floats:
        """Returns D's inputs for N pairs, `(3, N)`: both in units of the scale, and a one."""
        scale = weights.dtype.type(self.scale)
        return np.stack(
            [weights.ravel() / scale, proxies.ravel() / scale, np.ones_like(weights).ravel()]
        )

    def forward(self, given: Floats) -> tuple[Floats, Floats]:
        """Returns the attack's weights `(N,)`, and the units `(16, N)` for the gradient."""
        direct, first, last = (part.astype(given.dtype) for part in self._parts())
        units = first @ given
        np.maximum(units, 0, out=units)
        return given.dtype.type(self.scale) * (direct @ given[:2] + last @ units), units

    def gradient(self, given: Floats, units: Floats, error: Floats) -> Floats:
        """Returns the gradient of `sum(error * D)` in the parameters, from a forward pass."""
        flat = given.dtype.type(self.scale) * error.ravel().astype(given.dtype)
        last = self._parts()[2].astype(given.dtype)
        first = last[:, None] * (((units > 0) * flat) @ given.T)
        return np.concatenate([given[:2] @ flat, first.ravel(), units @ flat, [0.0]])

    def _parts(self) -> tuple[Floats, Floats, Floats]:
        units = self.parameters[2 : 2 + 3 * _UNITS].reshape(_UNITS, 3)
        return self.parameters[:2], units, self.parameters[2 + 3 * _UNITS : -1]


def learn_displacement(
    weights: Floats,
    proxies: Floats,
    bits: Bools,
    *,
    evidence: Callable[[Floats], Floats],
    spread: Callable[[Floats], Floats],
    rng: np.random.Generator,
) -> Displacement:
    """Returns the displacement that best recognises members on models whose bits are known.

    It minimises the mean log-loss over all models and points by Adam, all of them in every step,
    in single precision.

    Args:
        weights: The models' weights, in any shape.
        proxies: Their proxies', in that shape.
        bits: `(K, n)` known membership.
        evidence: Returns the evidence `(K, n)` of the attack's weights on each point, linear in
            the weights.
        spread: Given an error `(K, n)`, returns the gradient of `sum(error * evidence)` in those
            weights.
        rng: Draws the first weights of the units.
    """
    # The tiny term keeps models without any weight from a division by 0.
    scale = float(np.sqrt(np.square(weights).mean()) + np.finfo(np.float32).tiny)
    learned = Displacement.subtraction(scale, rng)
    # `position` is the array inside `learned`: steps in place move the displacement.
    start, position = learned.parameters.copy(), learned.parameters
    mean, square = np.zeros_like(start), np.zeros_like(start)
    given = learned.given(weights.astype(np.float32), proxies.astype(np.float32))
    for step in range(1, _STEPS + 1):
        attack, units = learned.forward(given)
        log_odds = evidence(attack.reshape(weights.shape)) + learned.offset
        error = (expit(log_odds) - bits) / bits.size
        gradient = learned.gradient(given, units, spread(error))
        # The offset is added to the evidence, not to the weights, so `gradient` leaves it out.
        gradient[-1] = error.sum()
        gradient += _DECAY * (position - start)
        # Adam with averages of 0.9 and 0.999 (Kingma and Ba 2015).
        mean += 0.1 * (gradient - mean)
        square += 0.001 * (gradient * gradient - square)
        size = np.sqrt(square / (1 - 0.999**step)) + 1e-8
        position -= _RATE * mean / (1 - 0.9**step) / size
    return learned


def learn_on_layer(
    features: Floats,
    weights: Floats,
    proxies: Floats,
    labels: Ints,
    bits: Bools,
    *,
    rng: np.random.Generator,
) -> Displacement:
    """Returns the displacement of a layer whose weights are the same for all points of a class.

    Args:
        features: `(K, n, h)`; the bias is one more feature that is one.
        weights: `(K, C, h + 1)` the models' weights, in the gauge of the attack.
        proxies: `(K, C, h + 1)` their proxies', likewise.
        labels: `(n,)` true labels.
        bits: `(K, n)` known membership.
        rng: Draws the first weights of the units.
    """
    # Sorted by class, so that the points of a class are a slice and are not copied in every step.
    order = np.argsort(labels, kind="stable")
    given, own = features[:, order], labels[order]
    return learn_displacement(
        weights,
        proxies,
        bits[:, order],
        evidence=lambda attack: evidence_of(given, attack, own),
        spread=lambda error: _spread(given, error, own, weights),
        rng=rng,
    )


def evidence_of(features: Floats, weights: Floats, labels: Ints) -> Floats:
    """Returns `(K, n)` the score of each point by its class's weights `(K, C, h + 1)`."""
    evidence = np.empty(features.shape[:2])
    for label, points in _by_class(labels):
        own = weights[:, label]
        slopes = own[:, :-1, None].astype(features.dtype)
        evidence[:, points] = (features[:, points] @ slopes)[..., 0] + own[:, -1:]
    return evidence


def _spread(features: Floats, error: Floats, labels: Ints, like: Floats) -> Floats:
    """Returns the gradient `(K, C, h + 1)` of `sum(error * evidence)` in the attack's weights."""
    spread = np.zeros(like.shape)
    for label, points in _by_class(labels):
        own = error[:, None, points]
        spread[:, label, :-1] = (own.astype(features.dtype) @ features[:, points])[:, 0]
        spread[:, label, -1] = own.sum((1, 2))
    return spread


def _by_class(labels: Ints) -> Iterator[tuple[int, Ints | slice]]:
    """Yields every label with its points: a slice where labels are sorted."""
    for label in np.unique(labels):
        points = np.flatnonzero(labels == label)
        adjacent = points[-1] - points[0] == len(points) - 1
        yield int(label), slice(points[0], points[-1] + 1) if adjacent else points
