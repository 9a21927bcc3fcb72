"""A learned displacement: from a model's weight and its proxy's to the weight of the attack.

Subtraction is `D(a, b) = a - b`. The general attack of Leino and Fredrikson 2020 learns D instead,
on models whose members are known: here subtraction plus a small network of ReLU units, the same for
every feature and every class, whose output starts at zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

from dpbench.attacks.base import Bools, Floats, Ints

_UNITS = 16
_STEPS = 100
_RATE = 0.01
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
        """Returns the attack's weights, in the shape of the arguments."""
        return self._forward(weights.ravel(), proxies.ravel())[0].reshape(weights.shape)

    @property
    def offset(self) -> float:
        """Log odds where all attack weights are zero."""
        return float(self.parameters[-1])

    def _parts(self) -> tuple[Floats, Floats, Floats]:
        units = self.parameters[2 : 2 + 3 * _UNITS].reshape(_UNITS, 3)
        return self.parameters[:2], units, self.parameters[2 + 3 * _UNITS : -1]

    def _forward(self, weights: Floats, proxies: Floats) -> tuple[Floats, Floats, Floats]:
        direct, first, last = self._parts()
        given = np.stack([weights / self.scale, proxies / self.scale, np.ones_like(weights)])
        units = np.maximum(first @ given, 0)
        return self.scale * (direct @ given[:2] + last @ units), given, units

    def gradient(self, weights: Floats, proxies: Floats, error: Floats) -> Floats:
        """Returns the gradient of `sum(error * D(weights, proxies))` in the parameters."""
        _, given, units = self._forward(weights.ravel(), proxies.ravel())
        flat = self.scale * error.ravel()
        last = self._parts()[2]
        first = ((last[:, None] * flat) * (units > 0)) @ given.T
        return np.concatenate([given[:2] @ flat, first.ravel(), units @ flat, [0.0]])


def learn_displacement(
    features: Floats,
    weights: Floats,
    proxies: Floats,
    labels: Ints,
    bits: Bools,
    *,
    rng: np.random.Generator,
) -> Displacement:
    """Returns the displacement that best tells members on models whose bits are known.

    It minimises the mean log-loss of `sum_j D(weight_yj, proxy_yj) feature_j` over all models and
    points by Adam, all of them in every step.

    Args:
        features: `(K, n, h)`; the bias is one more feature that is one.
        weights: `(K, C, h + 1)` the models' weights, in the gauge of the attack.
        proxies: `(K, C, h + 1)` their proxies', likewise.
        labels: `(n,)` true labels.
        bits: `(K, n)` known membership.
        rng: Draws the first weights of the units.
    """
    scale = float(np.sqrt(np.square(weights).mean()) + np.finfo(np.float32).tiny)
    learned = Displacement.subtraction(scale, rng)
    start, position = learned.parameters.copy(), learned.parameters
    mean, square = np.zeros_like(start), np.zeros_like(start)
    # Sorted by class, so that the points of a class are a slice and are not copied in every step.
    order = np.argsort(labels, kind="stable")
    features, labels, bits = features[:, order], labels[order], bits[:, order]
    for step in range(1, _STEPS + 1):
        evidence = evidence_of(features, learned(weights, proxies), labels) + learned.offset
        error = (expit(evidence) - bits) / bits.size
        gradient = learned.gradient(weights, proxies, _spread(features, error, labels, weights))
        gradient[-1] = error.sum()
        gradient += _DECAY * (position - start)
        mean += 0.1 * (gradient - mean)
        square += 0.001 * (gradient * gradient - square)
        size = np.sqrt(square / (1 - 0.999**step)) + 1e-8
        position -= _RATE * mean / (1 - 0.9**step) / size
    return learned


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
