"""A small network that reads several views of an example, in NumPy, for many targets side by side.

Every component of the input has an encoder of its own (an affine map and a ReLU), the codes are
joined, and two more layers end in the log odds of membership (the shape of Nasr et al. 2019). One
component is the gradient of the target's last layer, `delta outer [features, 1]`: it has rank one,
so an affine map of it is a bilinear form of its two factors and the product is never formed.

All networks start from the same weights and see the same examples in the same order, each with its
own inputs and bits. Forward and backward passes are written out.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from scipy.special import expit

from dpbench.arrays import Floats, Ints

_DECAYS = 0.9, 0.999
"""Adam's averages (Kingma and Ba 2015)."""
_TINY = 1e-8


class Components(NamedTuple):
    """The inputs of K networks for N examples, float32.

    Attributes:
        plain: Vectors `(K, N, d)`, one array for each component.
        factors: `(K, N, h + 1)` and `(K, N, C)`, the factors of the rank-one component.
    """

    plain: tuple[Floats, ...]
    factors: tuple[Floats, Floats]

    def at(self, rows: Ints) -> Self:
        """Returns the components of some examples."""
        left, right = self.factors
        return type(self)(
            tuple(part[:, rows] for part in self.plain), (left[:, rows], right[:, rows])
        )


class Codes(NamedTuple):
    """Values of a forward pass that the backward pass needs: joined codes, units, log odds."""

    joined: Floats
    hidden: Floats
    log_odds: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class SupervisedNetworks:
    """K networks as one flat array `(K, P)` of weights, with named views into it.

    Attributes:
        flat: All weights.
        sizes: Lengths d of the plain components.
        factors: Lengths h + 1 and C of the factors.
        code: Units of every encoder.
        hidden: Units of the layer behind the encoders.
    """

    flat: Floats
    sizes: tuple[int, ...]
    factors: tuple[int, int]
    code: int
    hidden: int

    @classmethod
    def start(cls, like: Components, *, code: int, hidden: int, rng: np.random.Generator) -> Self:
        """Returns networks with the same random weights: Gaussian, variance 2 / inputs."""
        sizes = tuple(part.shape[2] for part in like.plain)
        factors = (like.factors[0].shape[2], like.factors[1].shape[2])
        empty = cls(
            flat=np.zeros((1, 0), np.float32),
            sizes=sizes,
            factors=factors,
            code=code,
            hidden=hidden,
        )
        drawn = [
            np.zeros(shape)
            if inputs is None
            else rng.standard_normal(shape) * math.sqrt(2 / inputs)
            for shape, inputs in empty._shapes()
        ]
        one = np.concatenate([part.ravel() for part in drawn]).astype(np.float32)
        flat = np.repeat(one[None], len(like.factors[0]), axis=0)
        return cls(flat=flat, sizes=sizes, factors=factors, code=code, hidden=hidden)

    def _shapes(self) -> Iterator[tuple[tuple[int, ...], int | None]]:
        """Yields the shape of each matrix, and its number of inputs.

        The number is None for biases, which start at 0.
        """
        for size in self.sizes:
            yield (size, self.code), size
            yield (1, self.code), None
        left, right = self.factors
        yield (left, right * self.code), left * right
        yield (1, self.code), None
        yield ((len(self.sizes) + 1) * self.code, self.hidden), (len(self.sizes) + 1) * self.code
        yield (1, self.hidden), None
        yield (self.hidden, 1), self.hidden
        yield (1, 1), None

    def views(self, flat: Floats) -> list[Floats]:
        """Returns the matrices `(K, ...)` in a flat array that is laid out like the weights."""
        views, start = [], 0
        for shape, _ in self._shapes():
            stop = start + math.prod(shape)
            views.append(flat[:, start:stop].reshape(len(flat), *shape))
            start = stop
        return views

    def forward(self, given: Components) -> Codes:
        """Returns the log odds `(K, N, 1)`, with the values that the backward pass needs."""
        *encoders, mix, mix_bias, last, last_bias = self.views(self.flat)
        # The last pair of encoders is that of the rank-one component, which has no plain part.
        codes = [
            part @ weight + bias
            for part, weight, bias in zip(given.plain, encoders[::2], encoders[1::2], strict=False)
        ]
        left, right = given.factors
        # left^T W right for each unit: the outer product of the factors is never formed.
        inner = (left @ encoders[-2]).reshape(*right.shape, self.code)
        codes.append((right[:, :, None] @ inner)[:, :, 0] + encoders[-1])
        joined = np.maximum(np.concatenate(codes, axis=2), 0)
        hidden = np.maximum(joined @ mix + mix_bias, 0)
        return Codes(joined, hidden, hidden @ last + last_bias)

    def backward(self, given: Components, codes: Codes, error: Floats, out: Floats) -> None:
        """Writes the gradient of `sum(error * log odds)` into a flat array.

        Args:
            given: Inputs of the forward pass.
            codes: Values of the forward pass.
            error: `(K, N, 1)` the gradient in the log odds.
            out: `(K, P)`, laid out like the weights.
        """
        *encoders, mix, mix_bias, last, last_bias = self.views(out)
        *_, mix_weight, _, last_weight, _ = self.views(self.flat)
        last[:], last_bias[:] = codes.hidden.swapaxes(1, 2) @ error, error.sum(1, keepdims=True)
        below = (error @ last_weight.swapaxes(1, 2)) * (codes.hidden > 0)
        mix[:], mix_bias[:] = codes.joined.swapaxes(1, 2) @ below, below.sum(1, keepdims=True)
        below = (below @ mix_weight.swapaxes(1, 2)) * (codes.joined > 0)
        deltas = np.split(below, len(self.sizes) + 1, axis=2)
        for part, delta, weight in zip(given.plain, deltas, encoders[::2], strict=False):
            weight[:] = part.swapaxes(1, 2) @ delta
        for delta, bias in zip(deltas, encoders[1::2], strict=True):
            bias[:] = delta.sum(1, keepdims=True)
        left, right = given.factors
        spread = (right[..., None] * deltas[-1][:, :, None]).reshape(*left.shape[:2], -1)
        encoders[-2][:] = left.swapaxes(1, 2) @ spread

    def train(
        self,
        given: Components,
        bits: Floats,
        *,
        epochs: int,
        batch: int,
        learning_rate: float,
        weight_decay: float,
        rng: np.random.Generator,
    ) -> None:
        """Minimises the mean log-loss by Adam with decoupled weight decay, in place.

        Args:
            given: Components of the N examples.
            bits: `(K, N)` 1 for members, 0 for others.
            epochs: Passes over the examples.
            batch: Examples in a step.
            learning_rate: Adam's step length, lowered to zero along half a cosine.
            weight_decay: Weights shrink by this times the step length at every step.
            rng: Draws the order of the examples, the same for all networks.
        """
        gradient, mean, square = (np.zeros_like(self.flat) for _ in range(3))
        examples = bits.shape[1]
        steps, step = epochs * math.ceil(examples / batch), 0
        for _ in range(epochs):
            order = rng.permutation(examples)
            for start in range(0, examples, batch):
                rows = order[start : start + batch]
                some = given.at(rows)
                codes = self.forward(some)
                error = (expit(codes.log_odds) - bits[:, rows, None]) / len(rows)
                self.backward(some, codes, error, gradient)
                rate = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
                step += 1
                mean += (1 - _DECAYS[0]) * (gradient - mean)
                square += (1 - _DECAYS[1]) * (gradient * gradient - square)
                size = np.sqrt(square / (1 - _DECAYS[1] ** step)) + _TINY
                # Decay beside the gradient, not in it (Loshchilov and Hutter 2019). In place, since
                # the dataclass is frozen.
                self.flat[...] -= rate * (
                    mean / (1 - _DECAYS[0] ** step) / size + weight_decay * self.flat
                )
