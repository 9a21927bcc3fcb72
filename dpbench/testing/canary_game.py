"""The worst case for a private training: a network and an example crafted for each other.

D is a handful of harmless examples, D' = D + canary. The canary has an input feature that is zero
in all other examples. The network starts from fixed weights at which the canary's gradient is many
times the clipping norm, lies to more than 99.9 % in weights that no other example touches, and is
shared equally by the two layers.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn

from dpbench.defenses.base import Defense
from dpbench.defenses.composition import Composition
from dpbench.errors import UserError
from dpbench.models.dense_layer import DenseArchitecture, DenseLayer
from dpbench.seeds import rng_for
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism, Task, TrainingData

BACKGROUND = 8
"""Members of every model; their number is public, the canary is not counted."""

_FEATURES, _WIDTH, _CLASSES = 32, 8, 2
# Gradient norm of the canary over the clipping norm, or over 1 where that is larger: enough for the
# gradient to stay clipped when the canary is learned, which `_learning_rate` keeps slow as well.
_EXCESS = 30.0
# Hidden units are this far below zero on an input of zeros: no background example activates them.
_DEPTH = 1.0


@dataclass(frozen=True, kw_only=True)
class CanaryNet(DenseArchitecture):
    """One hidden layer of ReLU units that only the canary activates.

    It starts from fixed weights, which the adversary knows. An input of zeros leaves all hidden
    units off, so its gradient lies in the output bias alone.

    Attributes:
        gradient_norm: Norm of the canary's gradient of the cross-entropy before the first step.
    """

    gradient_norm: float = _EXCESS

    def layers(self, shape: tuple[int, ...], n_classes: int) -> tuple[DenseLayer, ...]:
        """Returns the two layers."""
        return (
            DenseLayer("1", math.prod(shape), _WIDTH, activation="relu"),
            DenseLayer("3", _WIDTH, n_classes),
        )

    def build(self, shape: tuple[int, ...], n_classes: int, generator: Generator) -> nn.Module:
        """Returns the crafted network; nothing is random about it."""
        del generator
        entry, last = self.layers(shape, n_classes)
        first = torch.zeros(entry.d_out, entry.d_in)
        first[:, 0] = self.entry
        # Alternating signs: the units cancel in the logits, which are zero, and not in the
        # gradient. The size makes the gradients of the two layers equally long.
        second = torch.ones(last.d_out, last.d_in) * self.activation / (self.canary * math.sqrt(2))
        second[0, ::2] *= -1
        second[1, 1::2] *= -1
        return nn.Sequential(
            nn.Flatten(),
            _linear(first, torch.full((entry.d_out,), -_DEPTH)),
            nn.ReLU(),
            _linear(second, torch.zeros(last.d_out)),
        )

    @property
    def canary(self) -> float:
        """The value of the canary's own feature."""
        return (self.activation + _DEPTH) / self.entry

    @property
    def activation(self) -> float:
        """What the canary makes of each hidden unit."""
        return self.gradient_norm / math.sqrt(_WIDTH)

    @property
    def entry(self) -> float:
        """Weight of the canary's feature: small where gradients, hence steps, must be large."""
        return _EXCESS / self.gradient_norm


def _linear(weight: Tensor, bias: Tensor) -> nn.Linear:
    """Returns a layer with these weights.

    The constructor would draw others from the global generator first. Thousands of models start
    here, and the ways around it (copies, the meta device) take longer than to train them.
    """
    layer = nn.Linear.__new__(nn.Linear)
    nn.Module.__init__(layer)
    layer.out_features, layer.in_features = weight.shape
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
    return layer


def fair_coins(models: int, *, seed: int) -> NDArray[np.bool_]:
    """Returns the `(K,)` membership bits of the canary."""
    return rng_for(seed, "gradient_canary", "membership").random(models) < 0.5


def canary_task(
    defense: Defense | Composition,
    members: NDArray[np.bool_],
    *,
    recipe: Recipe,
    engine: Literal["dense", "autograd"],
    seed: int,
    device: str = "cpu",
) -> Task:
    """Returns the training of K models, of which those with `members` set have the canary.

    The defense decides as in any grid. On top of it three things that are post-processing for the
    privacy of all iterates are fixed: the iterates are kept as they are (no averaging), none is
    chosen (no patience), and the learning rate is small, so that the canary is not learned.

    Args:
        defense: What is audited.
        members: `(K,)` bool.
        recipe: What the defense adapts.
        engine: Written into the adapted recipe.
        seed: Of the training.
        device: Torch device name.

    Raises:
        UserError: The defense has no mechanism that clips and adds noise.
    """
    composed = defense if isinstance(defense, Composition) else Composition((defense,))
    adapted = composed.adapt(recipe)
    sampling = adapted.sampling(BACKGROUND)
    mechanism = composed.mechanism(sampling)
    if mechanism is None:
        raise UserError(
            f"{composed.name}: it has no mechanism to audit",
            allowed="a defense whose `mechanism` clips gradients and adds noise, such as dp_sgd",
        )
    net = CanaryNet(gradient_norm=_EXCESS * max(1.0, mechanism.max_grad_norm))
    lr = _learning_rate(mechanism, sampling, net.gradient_norm) * (1 - adapted.momentum)
    bits = torch.from_numpy(members)[:, None]
    return Task(
        architecture=net,
        shape=(_FEATURES,),
        n_classes=_CLASSES,
        recipe=replace(
            adapted, lr=lr, averaging=0.0, patience=None, stop_accuracy=None, engine=engine
        ),
        sampling=sampling,
        mechanism=mechanism,
        loss=composed.loss(),
        regularise=composed.regularise(),
        data=composed.prepare(_data(net.canary)),
        members=torch.cat([bits.new_ones(len(bits), BACKGROUND), bits], 1),
        seed=seed,
        models=tuple(range(len(members))),
        checkpoints=tuple(range(1, sampling.steps + 1)),
        device=device,
    )


def _data(canary: float) -> TrainingData:
    """Zeros with balanced labels, and the canary in the last row."""
    inputs = torch.zeros(BACKGROUND + 1, _FEATURES)
    inputs[-1, 0] = canary
    targets: Tensor = torch.arange(BACKGROUND + 1) % _CLASSES
    return TrainingData(inputs, targets, inputs[:2], targets[:2])


def _learning_rate(mechanism: Mechanism, sampling: Sampling, gradient_norm: float) -> float:
    """Returns the rate at which the canary's logits end less than about 2 apart.

    Along the canary's gradient the weights travel up to T clipping norms, and three deviations of
    the noise; the logits' difference grows by twice the gradient norm per unit of the way.
    """
    way = sampling.steps + 3 * mechanism.noise_multiplier * math.sqrt(sampling.steps)
    return sampling.batch / (mechanism.max_grad_norm * way * gradient_norm)
