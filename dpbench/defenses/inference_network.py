"""The attack network of adversarial regularisation, one for each of K models, trained together."""

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from dpbench.training.resumable import InPlace, OptimizerState, Parts, State

# The published network: towers for the prediction and for the label, and what joins them.
_PREDICTION, _LABEL, _JOINT = (1024, 512, 64), (128, 64), (512, 256, 128, 64, 1)
_PUBLISHED_WIDTH = 1024
# A layer of few ReLU units is often dead from the start, and h constant.
_NARROWEST = 16


class InferenceNetwork:
    """K networks `h(f(x), y)` that tell members from public examples, and their Adam.

    Nasr, Shokri & Houmansadr 2018, figure 3 and released code: fully connected ReLU towers of
    1024-512-64 on the class probabilities and 128-64 on the one-hot label, joined by 512-256-128-64
    and a logistic unit. Here every width may be divided by the same number, but not to below 16.
    Weights start from N(0, 2 / inputs): the released code's N(0, 0.01²) leaves no signal after
    narrow layers, and the attacker learned more slowly with it.
    """

    def __init__(
        self, *, models: int, n_classes: int, width: int, lr: float, generator: Generator
    ) -> None:
        """Draws the weights.

        Args:
            models: K.
            n_classes: C.
            width: Units of the widest layer; 1024 as published.
            lr: Of Adam.
            generator: Of the weights, on the device they shall live on.
        """

        def tower(d_in: int, published: tuple[int, ...]) -> list[tuple[Tensor, Tensor]]:
            sizes = [d_in, *(_scaled(units, width) for units in published)]
            return [layer(*pair) for pair in itertools.pairwise(sizes)]

        def layer(d_in: int, d_out: int) -> tuple[Tensor, Tensor]:
            weight = torch.empty(models, d_in, d_out, device=generator.device)
            weight.normal_(0, math.sqrt(2 / d_in), generator=generator)
            bias = weight.new_zeros(models, 1, d_out)
            return weight.requires_grad_(), bias.requires_grad_()

        self._prediction = tower(n_classes, _PREDICTION)
        self._label = tower(n_classes, _LABEL)
        self._joint = tower(_scaled(_PREDICTION[-1], width) + _scaled(_LABEL[-1], width), _JOINT)
        self._n_classes = n_classes
        self._adam = torch.optim.Adam(self._parameters(), lr=lr, fused=True)

    def logits(self, predictions: Tensor, labels: Tensor) -> Tensor:
        """Returns the log-odds `(K, B)` of membership.

        Args:
            predictions: Class probabilities `(K, B, C)`.
            labels: `(K, B)` int64.
        """
        one_hot = torch.nn.functional.one_hot(labels, self._n_classes).to(predictions.dtype)
        towers = _through(self._prediction, predictions), _through(self._label, one_hot)
        *hidden, (weight, bias) = self._joint
        return torch.baddbmm(bias, _through(hidden, torch.cat(towers, -1)), weight).squeeze(-1)

    def gain(self, predictions: Tensor, labels: Tensor, members: Tensor) -> Tensor:
        """Returns `(K,)` of `½ E_members log h + ½ E_others log(1 - h)`, the attacker's gain.

        Args:
            predictions: Class probabilities `(K, B, C)`.
            labels: `(K, B)` int64.
            members: `(K, B)` weights: 1 for members, -1 for others, 0 for what is left out.
        """
        log_odds = self.logits(predictions, labels)
        right = torch.nn.functional.logsigmoid(members * log_odds)
        sides = (members > 0).float(), (members < 0).float()
        return sum(
            ((side * right).sum(-1) / (2 * side.sum(-1).clamp(min=1)) for side in sides),
            start=right.new_zeros(()),
        )

    @torch.enable_grad()
    def learn(self, predictions: Tensor, labels: Tensor, members: Tensor) -> Tensor:
        """Takes one step of Adam up the gain, and returns the gain `(K,)` before it."""
        gain = self.gain(predictions, labels, members)
        self._adam.zero_grad()
        gain.sum().neg().backward()  # type: ignore[no-untyped-call]
        self._adam.step()
        return gain.detach()

    def state(self) -> State:
        """Returns weights and moments."""
        return self._parts().state()

    def restore(self, state: State) -> None:
        """Goes on from there."""
        self._parts().restore(state)

    def _parts(self) -> Parts:
        weights = {str(number): value for number, value in enumerate(self._parameters())}
        return Parts({"weights": InPlace(weights), "adam": OptimizerState(self._adam)})

    def _parameters(self) -> Iterator[Tensor]:
        for layers in (self._prediction, self._label, self._joint):
            for weight, bias in layers:
                yield weight
                yield bias


def _scaled(units: int, width: int) -> int:
    return units if units == 1 else max(_NARROWEST, round(units * width / _PUBLISHED_WIDTH))


def _through(layers: list[tuple[Tensor, Tensor]], values: Tensor) -> Tensor:
    for weight, bias in layers:
        values = torch.baddbmm(bias, values, weight).relu()
    return values
