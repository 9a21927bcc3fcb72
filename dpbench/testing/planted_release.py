"""What planted models answer, to queries about points and about their weights."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, softmax

from dpbench.attacks.base import Floats, Ints, Points
from dpbench.attacks.toolbox.confidence import SMALLEST

_A = TypeVar("_A", bound=NDArray[Any])

STEEPNESS = 20.0
"""How fast a model's confidence changes along its own direction, per unit of input."""

REACH = 0.004
"""Squared distance over which confidence falls by up to a quarter, to all sides: it peaks."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Release:
    """What M planted models answer: a peak and a slope around each challenge point.

    It is an `attacks.WhiteBox` too, of p = n C weights: all logits, which start at zero.

    Attributes:
        inputs: `(n, *shape)` the challenge points.
        labels: `(n,)` their labels.
        confidence: `(M, n)` logit-scaled confidence on the points themselves.
        others: `(M, n, C)` how the rest is shared among the other classes; 0 for the label.
        directions: `(M, *shape)` unit vectors along which confidence grows.
        public: What the same models answer on public points; their number is not n.
    """

    inputs: Floats
    labels: Ints
    confidence: Floats
    others: Floats
    directions: Floats
    public: "Release | None" = None

    def reordered(self, order: Ints) -> "Release":
        """Returns the same answers on the challenge points in another order."""
        return replace(
            self,
            inputs=read_only(self.inputs[order]),
            labels=read_only(self.labels[order]),
            confidence=self.confidence[:, order],
            others=self.others[:, order],
        )

    def outputs(self) -> Floats:
        """Returns class probabilities `(M, n, C)`, float32 and read-only."""
        return self._shared(self.confidence, self.others, self.labels)

    def query(self, inputs: Floats) -> Floats:
        """Returns class probabilities of inputs, one near each challenge point or public point."""
        if self.public is not None and inputs.shape == self.public.inputs.shape:
            return self.public.query(inputs)
        if inputs.shape != self.inputs.shape:
            raise ValueError(f"inputs have shape {inputs.shape}, expected {self.inputs.shape}")
        moved = (inputs - self.inputs).reshape(len(inputs), math.prod(inputs.shape[1:]))
        slopes = self.directions.reshape(len(self.directions), -1) @ moved.T
        confidence = self._moved(self.confidence, np.square(moved).sum(1), slopes)
        return self._shared(confidence, self.others, self.labels)

    def query_each(self, models: Ints, points: Ints, inputs: Floats) -> Floats:
        """Returns class probabilities `(k, b, C)` of inputs `(k, b, *shape)`, near given points."""
        size = math.prod(self.inputs.shape[1:])
        near = self.inputs[points].reshape(len(points), 1, size)
        moved = inputs.reshape(*inputs.shape[:2], size) - near
        directions = self.directions[models].reshape(len(models), size, 1)
        confidence = self._moved(
            self.confidence[models, points, None],
            np.square(moved).sum(-1),
            (moved @ directions)[..., 0],
        )
        others = self.others[models, points, None]
        return self._shared(confidence, others, self.labels[points, None])

    @property
    def linear(self) -> bool:
        """Logits are weights."""
        return True

    def weights(self) -> Floats:
        """Returns the logits as one row for each model, `(M, n C)`."""
        return self.logits().reshape(len(self.confidence), -1)

    def initial_weights(self) -> Floats:
        """Returns zeros `(M, n C)`."""
        return read_only(np.zeros_like(self.weights()))

    def logits(self) -> Floats:
        """Returns the logits `(M, n, C)`: the confidence, and the logarithm of the others."""
        logits = np.log(self.others + SMALLEST)
        logits[:, np.arange(len(self.labels)), self.labels] = self.confidence
        return read_only(logits)

    @property
    def has_head(self) -> bool:
        """A softmax regression is its last layer."""
        return True

    def features(self, of: Points) -> Floats:
        """Returns one-hot rows `(M, k, h)`: one for each challenge point, then each public point.

        A softmax regression on them reads weights of its own, the logits, for every point.
        """
        points = len(self.labels)
        rows = np.eye(points + self._n_public, dtype=np.float32)
        rows = rows[:points] if of == "challenge" else rows[points:]
        return np.broadcast_to(rows, (len(self.confidence), *rows.shape))

    def head(self) -> Floats:
        """Returns the logits of all points, challenge and public, and no bias: `(M, C, h + 1)`."""
        known = [self.logits()] if self.public is None else [self.logits(), self.public.logits()]
        nothing = np.zeros((len(self.confidence), 1, self.others.shape[2]))
        columns = np.concatenate([*known, nothing], axis=1)
        return read_only(np.moveaxis(columns, 1, 2).astype(np.float32))

    def influences(self, *, at_once: int, steps: int) -> Iterator[Floats]:
        """Yields the gradients `(M, k, d)` of the label's centred logit in the input."""
        share = 1 - 1 / self.others.shape[2]
        points = self.inputs.reshape(len(self.inputs), -1)
        slope = STEEPNESS * self.directions.reshape(len(self.directions), 1, -1)
        places = [1.0] if steps == 1 else [(step + 0.5) / steps for step in range(steps)]
        for start in range(0, len(points), at_once):
            rows = slice(start, start + at_once)
            gradient = np.zeros((len(slope), *points[rows].shape))
            for place in places:
                moved = (place - 1) * points[rows]
                fall = np.exp(-np.square(moved).sum(1, keepdims=True) / REACH) / (2 * REACH) * moved
                gradient += slope - self.confidence[:, rows, None] * fall
            yield read_only(share * gradient / len(places))

    @property
    def _n_public(self) -> int:
        return 0 if self.public is None else len(self.public.labels)

    def gradient_norms(self, of: Literal["weights", "inputs"]) -> Floats:
        """Returns the norms `(M, n)` of the cross-entropy's gradient."""
        weights, inputs = np.sqrt(1 + np.square(self.others).sum(-1)), STEEPNESS
        return read_only(expit(-self.confidence) * (weights if of == "weights" else inputs))

    def slopes(self, at: Floats, along: Floats) -> Floats:
        """Returns the derivatives `(M, n)` of the cross-entropy along rows `(M, n C)`."""
        gradient = softmax(at.reshape(self.others.shape), axis=-1)
        gradient[:, np.arange(len(self.labels)), self.labels] -= 1
        return read_only((gradient * along.reshape(self.others.shape)).sum(-1))

    @staticmethod
    def _moved(confidence: Floats, distance: Floats, slope: Floats) -> Floats:
        """Returns the confidence at a squared distance from a point, a length up the slope."""
        moved: Floats = (1 + np.expm1(-distance / REACH) / 4) * confidence + STEEPNESS * slope
        return moved

    @staticmethod
    def _shared(confidence: Floats, others: Floats, labels: Ints) -> Floats:
        """Returns probabilities `(..., C)`: the label's from its confidence, the rest shared."""
        outputs = (others * expit(-confidence)[..., None]).astype(np.float32)
        own = np.broadcast_to(labels, confidence.shape)[..., None]
        np.put_along_axis(outputs, own, expit(confidence)[..., None].astype(np.float32), -1)
        return read_only(outputs)


def read_only(array: _A) -> _A:
    """Returns the array, which can no longer be written to."""
    array.flags.writeable = False
    return array
