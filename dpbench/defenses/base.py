"""What a defense may change: it overrides the stages it touches; the defaults are identity."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Generator, Tensor

from dpbench.component import Component
from dpbench.defenses.search import Choice, Search
from dpbench.errors import UserError
from dpbench.models.base import Architecture
from dpbench.training.fit import fit
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import (
    Mechanism,
    Objective,
    Predict,
    Progress,
    Setting,
    Snapshots,
    Task,
    TrainingData,
    Weights,
)

LABEL_ATTACKS = ("gap", "label_lira", "noise_robustness", "noise_lira", "boundary_lira")
"""What is run against a defense that hides confidence: labels as their papers use them, and
calibrated by shadows as LiRA calibrates scores. An adaptive adversary is no weaker on labels."""

State = dict[str, Tensor]
"""What a release stage has learned about M models: named tensors `(M, ...)`."""


class Serving(NamedTuple):
    """What the owner of M trained models knows when the release stage is prepared.

    Attributes:
        outputs: Class probabilities `(M, n, C)` on the pool, behind the masks before this one.
        labels: Pool labels `(n,)`.
        members: `(M, n)` bool.
        reference_outputs: Class probabilities `(M, r, C)` on the public reference set.
        reference_labels: `(r,)`.
        predict: Class probabilities `(M, N, C)` on any inputs `(N, *shape)`.
        shape: Shape of one input.
        low: Smallest value of every feature, `(*shape)`.
        high: Largest value of every feature.
        binary: Which features are either low or high, bool.
        generator: Randomness of the release stage's own.
    """

    outputs: Tensor
    labels: Tensor
    members: Tensor
    reference_outputs: Tensor
    reference_labels: Tensor
    predict: Predict
    shape: tuple[int, ...]
    low: Tensor
    high: Tensor
    binary: Tensor
    generator: Generator


@dataclass(frozen=True, kw_only=True)
class Defense(Component):
    """One privacy defense: its fields are its strength, its methods the stages it changes.

    Which data it takes: `require`. What is trained: `remodel`, `represent`. Training: `adapt`,
    `prepare`, `augment`, `loss` or `objective`, `regularise`, `mechanism`; `train` where one
    training is not enough. Then `release`, which may first learn about the trained models,
    `fit_release`; and what an informed adversary does about it: `undo`, `repeats`,
    `adaptive_attacks`.
    A defense that only releases differently reuses the trained models of what it masks.

    Class variables:
        reference: The paper that proposed it.
        reported: What its authors reported, for the defense card: where and how to the number.
        tuned: How its defaults were found, for the card of whoever is compared with it.
        keeps_argmax: `release` never changes the predicted label.
        randomised: `release` takes a `generator` keyword and uses it.
        mixes_examples: `augment` lets one example change another, so gradients cannot be clipped.
        repeats: How often an informed adversary asks the same query, to average random answers.
        search: Where `dpbench tune` looks for its strengths: field name to interval or choice. What
            is not searched takes its default.
        promised: Fields that `dpbench tune` leaves as the grid has them: what is promised rather
            than how it is trained. Cells that promise different things are tuned one by one.
        adaptive_attacks: Attacks that fit this defense, as a grid writes them: a name, or
            `{name: fields}`. An adaptive adversary always runs them.
    """

    kind: ClassVar[str] = "defense"
    reference: ClassVar[str] = ""
    reported: ClassVar[Mapping[str, str]] = {}
    tuned: ClassVar[str] = ""
    keeps_argmax: ClassVar[bool] = True
    randomised: ClassVar[bool] = False
    mixes_examples: ClassVar[bool] = False
    repeats: ClassVar[int] = 1
    adaptive_attacks: ClassVar[tuple[str | Mapping[str, Any], ...]] = ()
    search: ClassVar[Mapping[str, Search | Choice]] = {}
    promised: ClassVar[tuple[str, ...]] = ()

    @property
    def searched(self) -> Mapping[str, Search | Choice]:
        """`search`, where it depends on the fields that are promised."""
        return self.search

    @property
    def replaces(self) -> frozenset[str]:
        """Fields of the recipe that `adapt` sets, whatever they were before.

        Two parts that set the same field cannot be composed: one would silently undo the other.
        """
        return frozenset()

    @property
    def keeps_claim(self) -> bool:
        """Whether a mechanism's claim survives what this defense does with the members.

        By default, not where it trains in its own way or its release stage has seen the members.
        """
        return not (overrides(self, "train") or overrides(self, "fit_release"))

    @property
    def penalises(self) -> bool:
        """Whether `regularise` adds anything; it costs a backward pass through the weights."""
        return overrides(self, "regularise")

    @property
    def cost(self) -> float:
        """Training work relative to one plain training, for estimates of time."""
        return 1.0

    def remodel(self, architecture: Architecture) -> Architecture:
        """Returns the network that is trained in the place of the grid's."""
        return architecture

    def represent(self, inputs: Tensor) -> Tensor:
        """Returns what the network is given for inputs `(N, *shape)`: public features `(N, *to)`.

        It applies to every input, in training and in every query, to each one alone.
        """
        return inputs

    def adapt(self, recipe: Recipe) -> Recipe:
        """Returns the recipe this defense trains with: epochs, batch, decay, stopping."""
        return recipe

    def require(self, data: TrainingData) -> None:
        """Refuses data that this defense cannot work with: asked when a grid is planned.

        Raises:
            UserError: The inputs have a wrong shape, say, or there are too few public examples.
        """
        del data

    def prepare(self, data: TrainingData) -> TrainingData:
        """Returns the training data this defense learns from. Must act on each example alone."""
        return data

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Returns what the models see of a batch, drawn anew at every step.

        Args:
            inputs: `(K, B, *shape)`, one batch for each model.
            targets: `(K, B, C)` soft labels.
            generator: Randomness, on the device of the inputs.
        """
        del generator
        return inputs, targets

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the per-example training loss.

        Args:
            logits: `(..., C)`, with any leading dimensions.
            targets: `(...)` int64 labels, or `(..., C)` float soft labels.

        Returns:
            `(...)` losses, differentiable in `logits`.
        """
        log_probs = logits.log_softmax(-1)
        if targets.is_floating_point():
            return -(targets * log_probs).sum(-1)
        return -log_probs.gather(-1, targets[..., None]).squeeze(-1)

    def objective(self, setting: Setting) -> Objective:
        """Returns a loss that sees whole batches and remembers, for K models trained together.

        It takes the place of `loss`: `Step -> losses (K, B)`, whose mean over the batch is
        minimised. One model's losses must not depend on another's batch. Gradients of one example
        alone do not exist, so it cannot be combined with clipping.
        """
        del setting
        return lambda step: self.loss(step.logits, step.targets)

    def regularise(self, weights: Weights) -> Tensor:
        """Returns a `(K,)` penalty on the stacked weights `(K, ...)` of K models."""
        return next(iter(weights.values())).new_zeros(())

    def mechanism(self, sampling: Sampling) -> Mechanism | None:
        """Returns the clipping and noise of training, with its claim, or None for plain SGD."""
        del sampling
        return None

    def train(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Trains K models: `fit(task)`, or several calls of it and what lies between.

        Args:
            task: What to train, all other stages of the cell's defenses applied.
            progress: Called with the finished fraction now and then.

        Returns:
            Weights `(K, ...)` of `task.architecture` for every step in `task.checkpoints`.
        """
        return fit(task, progress)

    def fit_release(self, serving: Serving) -> State:
        """Returns what `release` must know about the models; it is then given as `state`."""
        del serving
        return {}

    def release(self, outputs: Tensor) -> Tensor:
        """Returns what the adversary sees, given class probabilities `(..., C)` float32.

        A defense with `fit_release` is given the outputs `(K, N, C)` of K models and their
        `state`, `(K, ...)`.
        """
        return outputs

    def undo(self, released: Tensor) -> Tensor:
        """Returns what an adversary who knows the defense makes of a release before attacking.

        An adaptive attack sees `undo(release(outputs))`: the confidences again where the release
        can be inverted, a sensible guess of what was hidden where it cannot. Where the release is
        randomised, it is the mean of `repeats` answers.
        """
        return released


def require_public(data: TrainingData, name: str) -> None:
    """Refuses data without public examples.

    Raises:
        UserError: The reference set is empty.
    """
    if not len(data.reference_inputs):
        raise UserError(
            f"{name}: the reference set is empty",
            next_step="set population.reference to 1000 or more",
        )


TRAINING_STAGES = (
    "remodel", "represent", "adapt", "prepare", "augment", "loss", "objective", "regularise",
    "mechanism", "train",
)  # fmt: skip


def overrides(defense: Defense, stage: str) -> bool:
    """Tells whether the defense's class changes a stage."""
    return getattr(type(defense), stage) is not getattr(Defense, stage)


@torch.no_grad()
def released(
    defense: Defense, outputs: Tensor, generator: Generator, state: State | None = None
) -> Tensor:
    """Returns `defense.release(outputs)`, handing over what the release stage asks for.

    Args:
        defense: Whose release stage.
        outputs: `(..., C)`; `(K, N, C)` where the defense has a state.
        generator: For randomised defenses.
        state: What `fit_release` returned for these K models.
    """
    extra: dict[str, Any] = {}
    if defense.randomised:
        extra["generator"] = generator
    if overrides(defense, "fit_release"):
        extra["state"] = state
    release: Callable[..., Tensor] = defense.release
    return release(outputs, **extra)
