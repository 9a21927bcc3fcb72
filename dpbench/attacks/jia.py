"""Jia et al.: a network on sorted scores, the attack that MemGuard was evaluated with."""

import itertools
import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from scipy.special import expit

from dpbench.arrays import Bools, Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.cross_fitting import halves
from dpbench.component import register

HIDDEN = (512, 256, 128)
_DROP = 0.75
"""Share of the steps after which the learning rate falls tenfold (Jia et al. 2019)."""

Layers = list[tuple[Floats, Floats]]


@register
@dataclass(frozen=True, kw_only=True)
class Jia(Attack):
    """A network from all released scores, sorted, to membership.

    The NN attack of Jia et al. 2019: ReLU layers of 512, 256 and 128 units, SGD with learning rate
    0.01 that falls tenfold after three quarters of the epochs. It is trained on shadows from
    the half of the models that the target is not in, and decides by a score of at least 0. It
    assumes that members are released with more confidence, right or wrong: it knows no true label.

    Attributes:
        epochs: Passes over the shadows' scores.
        batch: Examples in a step.
        learning_rate: Of SGD.
        shadows: How many shadows it is trained on; the paper has one.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Jia, Salem, Backes, Zhang and Gong, MemGuard: Defending against Black-Box Membership "
        "Inference Attacks via Adversarial Examples, CCS 2019"
    )

    epochs: Annotated[int, Field(ge=1)] = 400
    batch: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    shadows: Annotated[int, Field(ge=1)] = 1

    def score(self, view: View) -> Floats:
        """Returns the log odds of membership.

        Raises:
            NotApplicable: There is only one model, hence no shadow.
        """
        if len(view.members) < 2:
            raise NotApplicable("there is only one model, hence no shadow")
        targets = _sorted(view.target.scores())
        shadows = targets if view.shadows is view.target else _sorted(view.shadows.scores())
        scores = np.empty(view.members.shape)
        for scored, taught_by in halves(len(scores)):
            layers = self.taught(shadows[taught_by], view.members[taught_by], view.rng)
            scores[scored] = [forward(layers, targets[model])[-1][:, 0] for model in scored]
        return scores

    def taught(self, shadows: Floats, members: Bools, rng: np.random.Generator) -> Layers:
        """Returns the layers of a network trained on the first shadows.

        Args:
            shadows: `(M, n, C)` sorted scores, float32.
            members: `(M, n)` their bits.
            rng: Draws the weights and the order of the examples.
        """
        lessons = shadows[: self.shadows].reshape(-1, shadows.shape[2])
        bits = members[: self.shadows].ravel()
        layers = start(lessons.shape[1], rng)
        steps, step = self.epochs * math.ceil(len(lessons) / self.batch), 0
        for _ in range(self.epochs):
            order = rng.permutation(len(lessons))
            for first in range(0, len(lessons), self.batch):
                rows = order[first : first + self.batch]
                rate = self.learning_rate * (0.1 if step >= _DROP * steps else 1.0)
                for (weight, bias), (by_weight, by_bias) in zip(
                    layers, gradients(layers, lessons[rows], bits[rows]), strict=True
                ):
                    weight -= rate * by_weight
                    bias -= rate * by_bias
                step += 1
        return layers


def start(inputs: int, rng: np.random.Generator) -> Layers:
    """Returns random layers: Gaussian weights of variance 2 / inputs, and no biases."""
    sizes = (inputs, *HIDDEN, 1)
    return [
        (
            (rng.standard_normal((d_in, d_out)) * math.sqrt(2 / d_in)).astype(np.float32),
            np.zeros(d_out, np.float32),
        )
        for d_in, d_out in itertools.pairwise(sizes)
    ]


def forward(layers: Layers, inputs: Floats) -> list[Floats]:
    """Returns the inputs, the units of every hidden layer, and the log odds `(N, 1)`."""
    values = [inputs]
    for number, (weight, bias) in enumerate(layers):
        reached = values[-1] @ weight + bias
        values.append(reached if number == len(layers) - 1 else np.maximum(reached, 0))
    return values


def gradients(layers: Layers, inputs: Floats, bits: Bools) -> Layers:
    """Returns the gradient of the mean log-loss, laid out like the layers."""
    *below, log_odds = forward(layers, inputs)
    error: Floats = (expit(log_odds) - bits[:, None]) / np.float32(len(bits))
    found: Layers = []
    for units, (weight, _) in zip(reversed(below), reversed(layers), strict=True):
        found.append((units.T @ error, error.sum(0)))
        error = (error @ weight.T) * (units > 0)
    return found[::-1]


def _sorted(outputs: Floats) -> Floats:
    """Returns `(M, n, C)` scores in rising order, float32."""
    return np.sort(outputs, axis=-1).astype(np.float32)
