"""Networks that tell members from others by their sorted confidences, one for each of M models."""

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch
from torch import Generator, Tensor
from torch.nn.functional import binary_cross_entropy_with_logits as log_loss

HIDDEN = (256, 128, 64)
"""Units of the hidden layers: the defense classifier of Jia et al. (2019)."""
TOGETHER = 8
"""Models trained at once: their weights and gradients stay in a core's cache."""
_DROP = 0.75


class Lesson(NamedTuple):
    """Confidences with and without membership.

    Attributes:
        members: `(M, n, C)`, of which only the rows in `counted` are members.
        counted: `(M, n)` bool.
        others: `(M, r, C)` confidences on non-members.
    """

    members: Tensor
    counted: Tensor
    others: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class MembershipClassifier:
    """M stacked networks: sorted confidences, ReLU layers, the log odds of membership.

    Attributes:
        weights: One `(M, d_in, d_out)` for each layer.
        biases: One `(M, 1, d_out)` for each layer.
    """

    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]

    @classmethod
    def trained(
        cls, lesson: Lesson, *, epochs: int, batch_size: int, lr: float, generator: Generator
    ) -> Self:
        """Trains by SGD on the log-loss; the learning rate falls tenfold after 3/4 of the epochs.

        Every batch holds as many members as others, drawn with replacement. An epoch is as many
        batches as would show a model's expected members, and as many others, once.
        """
        models, _, classes = lesson.members.shape
        start = cls._start(models, classes, generator)
        blocks = [
            cls._fit(
                start.at(slice(first, first + TOGETHER)),
                Lesson(*(part[first : first + TOGETHER] for part in lesson)),
                epochs=epochs,
                batch_size=batch_size,
                lr=lr,
                generator=generator,
            )
            for first in range(0, models, TOGETHER)
        ]
        layers = range(len(start.weights))
        return cls(
            weights=tuple(torch.cat([block.weights[i] for block in blocks]) for i in layers),
            biases=tuple(torch.cat([block.biases[i] for block in blocks]) for i in layers),
        )

    @classmethod
    def _start(cls, models: int, classes: int, generator: Generator) -> Self:
        """Returns random networks: Gaussian weights of variance 2 / inputs, no biases."""
        sizes = (classes, *HIDDEN, 1)
        return cls(
            weights=tuple(
                torch.randn(models, d_in, d_out, generator=generator) * math.sqrt(2 / d_in)
                for d_in, d_out in itertools.pairwise(sizes)
            ),
            biases=tuple(torch.zeros(models, 1, d_out) for d_out in sizes[1:]),
        )

    @classmethod
    def _fit(
        cls,
        start: Self,
        lesson: Lesson,
        *,
        epochs: int,
        batch_size: int,
        lr: float,
        generator: Generator,
    ) -> Self:
        network = cls(
            weights=tuple(weight.clone().requires_grad_() for weight in start.weights),
            biases=tuple(bias.clone().requires_grad_() for bias in start.biases),
        )
        parameters = [*network.weights, *network.biases]
        half = max(1, batch_size // 2)
        steps = epochs * math.ceil(lesson.counted.shape[1] / 2 / half)
        members, others = lesson.members.sort(-1).values, lesson.others.sort(-1).values
        counts = lesson.counted.sum(1, keepdim=True)
        places = lesson.counted.int().argsort(dim=1, descending=True, stable=True)
        each = torch.arange(len(members))[:, None]
        truth = torch.cat([torch.ones(len(members), half), torch.zeros(len(members), half)], dim=1)
        with torch.enable_grad():
            for step in range(steps):
                drawn = torch.rand(2, len(members), half, generator=generator)
                ours = places.gather(1, (drawn[0] * counts).long())
                theirs = (drawn[1] * others.shape[1]).long()
                batch = torch.cat([members[each, ours], others[each, theirs]], dim=1)
                loss = log_loss(network.logits(batch), truth, reduction="sum") / (2 * half)
                gradients = torch.autograd.grad(loss, parameters)
                rate = lr * (0.1 if step >= _DROP * steps else 1.0)
                with torch.no_grad():
                    torch._foreach_add_(parameters, gradients, alpha=-rate)
        return network.detached()

    def detached(self) -> Self:
        """Returns the networks without gradients."""
        weights, biases = self.weights, self.biases
        return type(self)(
            weights=tuple(weight.detach() for weight in weights),
            biases=tuple(bias.detach() for bias in biases),
        )

    def at(self, models: slice) -> Self:
        """Returns the networks of some models."""
        return type(self)(
            weights=tuple(weight[models] for weight in self.weights),
            biases=tuple(bias[models] for bias in self.biases),
        )

    def state(self) -> dict[str, Tensor]:
        """Returns the tensors by name."""
        named = {f"weight{number}": weight for number, weight in enumerate(self.weights)}
        return named | {f"bias{number}": bias for number, bias in enumerate(self.biases)}

    @classmethod
    def of(cls, state: dict[str, Tensor]) -> Self:
        """Returns the networks with such tensors."""
        layers = range(len(HIDDEN) + 1)
        return cls(
            weights=tuple(state[f"weight{number}"] for number in layers),
            biases=tuple(state[f"bias{number}"] for number in layers),
        )

    def logits(self, confidences: Tensor) -> Tensor:
        """Returns the log odds `(M, N)` of sorted confidences `(M, N, C)`."""
        hidden = confidences
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = torch.baddbmm(bias, hidden, weight).relu()
        return torch.baddbmm(self.biases[-1], hidden, self.weights[-1]).squeeze(-1)

    def logits_and_slopes(self, model: int, confidences: Tensor) -> tuple[Tensor, Tensor]:
        """Returns one model's log odds `(N,)` and their gradient `(N, C)` in the confidences.

        Args:
            model: Whose network.
            confidences: `(N, C)`, in the order of the classes.
        """
        hidden, order = confidences.sort(-1)
        weights = [weight[model] for weight in self.weights]
        active = []
        for weight, bias in zip(weights[:-1], self.biases[:-1], strict=True):
            hidden = torch.addmm(bias[model], hidden, weight).relu_()
            active.append(hidden)
        log_odds = torch.addmm(self.biases[-1][model], hidden, weights[-1]).squeeze(-1)
        slopes = weights[-1].T.expand(len(confidences), -1)
        threshold_backward = torch.ops.aten.threshold_backward
        for weight, units in zip(reversed(weights[:-1]), reversed(active), strict=True):
            slopes = threshold_backward(slopes, units, 0) @ weight.T
        return log_odds, torch.empty_like(slopes).scatter_(-1, order, slopes)
