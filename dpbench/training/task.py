"""What an engine is given and what it returns. Both engines share these types."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from dpbench.errors import NoResult
from dpbench.models.base import Architecture
from dpbench.models.network import Network
from dpbench.training.partial import Partial
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.resumable import State

Weights = dict[str, Tensor]
"""Stacked parameters: the names of `Architecture.build(...).state_dict()`, each `(K, *shape)`."""

Loss = Callable[[Tensor, Tensor], Tensor]
"""`(logits (..., C), targets (...) int64 or (..., C) float) -> per-example loss (...)`."""

Penalty = Callable[[Weights], Tensor]
"""`stacked weights -> (K,)` data-independent penalties, added to each model's loss."""

Augment = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]
"""`(inputs (K, B, *shape), soft labels (K, B, C), generator) -> (inputs, soft labels)`."""

Predict = Callable[[Tensor], Tensor]
"""`inputs (N, *shape) -> logits (K, N, C)` of the models as they are, without a gradient."""


class TrainingData(NamedTuple):
    """The tensors a training may touch.

    Attributes:
        inputs: Pool inputs `(n, *shape)`, float32.
        targets: `(n,)` int64 labels, or `(n, C)` float32 soft labels; with a leading `K`, every
            model of a task learns its own.
        reference_inputs: Public inputs, disjoint from the pool and the test set.
        reference_targets: Their int64 labels.
    """

    inputs: Tensor
    targets: Tensor
    reference_inputs: Tensor
    reference_targets: Tensor


class Setting(NamedTuple):
    """What a training's objective may know of the training.

    Attributes:
        models: K.
        n_classes: C.
        sampling: The sampling facts.
        data: What the models learn from, on the device.
        members: `(K, n)` bool.
        predict: The models as they are now; without dropout, and without a gradient.
        generator: Randomness of the objective's own, on the device.
    """

    models: int
    n_classes: int
    sampling: Sampling
    data: TrainingData
    members: Tensor
    predict: Predict
    generator: Generator


class Step(NamedTuple):
    """One batch of K models, as their objective sees it.

    Attributes:
        logits: `(K, B, C)`, to be differentiated.
        targets: `(K, B)` int64 labels or `(K, B, C)` soft labels.
        number: From 1 to the number of steps.
    """

    logits: Tensor
    targets: Tensor
    number: int


Objective = Callable[[Step], Tensor]
"""`Step -> losses (K, B)`; it may look at the whole batch and remember what it has seen.

A long training goes on from where it was killed only if its objective is `Resumable`.
"""


@dataclass(frozen=True)
class Memoryless:
    """An objective that knows nothing but its step, and so can always be resumed.

    Attributes:
        losses: The objective.
    """

    losses: Objective

    def __call__(self, step: Step) -> Tensor:
        """Returns the losses `(K, B)`."""
        return self.losses(step)

    def state(self) -> State:
        """Returns nothing."""
        return {}

    def restore(self, state: State) -> None:
        """Has nothing to restore."""


Begin = Callable[[Setting], Objective]
"""Makes the objective of K models that are trained side by side."""


@dataclass(frozen=True, kw_only=True)
class Mechanism:
    """Per-example clipping and Gaussian noise, and what it claims.

    A defense that is private by other means than noisy gradients claims without a clipping norm:
    `Mechanism(claim=event, delta=1e-5)`.

    The released gradient of a step is `(sum_i clip(g_i, C) + N(0, (sigma C)^2 I)) / batch` over a
    Poisson sample of rate q, with the fixed expected batch as the denominator.

    Attributes:
        max_grad_norm: Clipping norm C; infinite where gradients are neither clipped nor noised.
        noise_multiplier: sigma; 0 clips only.
        claim: The whole training as a `dp_accounting.DpEvent` under add/remove adjacency, or None
            when nothing is claimed.
        delta: The delta at which the claim is reported.
        quantile: Where given, C starts at `max_grad_norm` and follows this quantile of the gradient
            norms; the noise is sigma times the C of the step.
        count_noise: Deviation of the noise on the counts by which it does.
        multiplicity: Copies of an example, each augmented on its own, whose mean gradient is g_i.
    """

    max_grad_norm: float = math.inf
    noise_multiplier: float = 0.0
    claim: Any = None
    delta: float = 0.0
    quantile: float | None = None
    count_noise: float = 0.0
    multiplicity: int = 1

    @property
    def clips(self) -> bool:
        """Whether the engines clip every example's gradient and add noise."""
        return self.max_grad_norm < math.inf

    def identity(self) -> list[float] | None:
        """Returns what a training depends on: a claim alone changes nothing."""
        if not self.clips:
            return None
        copies = [self.multiplicity] if self.multiplicity > 1 else []
        follows = [self.quantile, self.count_noise] if self.quantile is not None else []
        return [self.max_grad_norm, self.noise_multiplier, *copies, *follows]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One block of K models to train with one recipe and one defense.

    Attributes:
        architecture: The network.
        shape: Shape of one input.
        n_classes: Number of classes C.
        recipe: Hyper-parameters, after the defense adapted them.
        sampling: Its sampling facts.
        mechanism: Clipping and noise, or None for plain SGD on shuffled members.
        loss: Per-example loss; None is cross-entropy, which the dense engine differentiates itself.
        objective: Makes a loss that sees whole batches, in the place of `loss`; plain SGD only.
        augment: Changes every batch before the models see it, or None.
        regularise: Penalty on the weights, or None.
        initial: Weights to start from, stacked; None draws them for each model.
        frozen: Names of parameters that keep their initial values; a layer's weight and bias go
            together.
        data: What the models learn from.
        members: `(K, n)` bool, the pool examples each model may see.
        seed: The grid's seed.
        models: The K model numbers, from which generators are derived.
        checkpoints: Steps after which weights are kept, ascending; the last one ends the training.
        device: Torch device name.
        partial: Where the training is saved now and then, to go on from there.
    """

    architecture: Architecture
    shape: tuple[int, ...]
    n_classes: int
    recipe: Recipe
    sampling: Sampling
    mechanism: Mechanism | None
    loss: Loss | None
    regularise: Penalty | None
    data: TrainingData
    members: Tensor
    seed: int
    models: tuple[int, ...]
    checkpoints: tuple[int, ...]
    device: str = "cpu"
    objective: Begin | None = None
    augment: Augment | None = None
    initial: Weights | None = None
    frozen: frozenset[str] = frozenset()
    partial: Partial | None = None

    @property
    def network(self) -> Network:
        """The architecture with its inputs and classes."""
        return Network(self.architecture, self.shape, self.n_classes)


Snapshots = dict[int, Weights]
"""Checkpoint step to weights."""

Progress = Callable[[float], None]
"""Called with the finished fraction of the task, now and then."""


class Diverged(NoResult):
    """A loss or a weight is not finite: the training failed, it must not be scored."""

    def __str__(self) -> str:
        """Returns the reason as the tables show it."""
        return f"diverged: {super().__str__()}"


def require_finite(weights: Mapping[str, Tensor], *, step: int) -> None:
    """Raises Diverged if any weight is NaN or infinite."""
    for name, value in weights.items():
        # A sum is one pass, and no sum of finite weights that a model could have overflows.
        if not bool(torch.isfinite(value.sum())):
            raise Diverged(f"weight '{name}' is not finite after step {step}")
