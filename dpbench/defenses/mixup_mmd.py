"""Mixup with a penalty on how far members' outputs lie from others'."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense, require_public
from dpbench.defenses.mixup import Mixup
from dpbench.defenses.search import Search
from dpbench.training.recipe import NonNegative, Positive
from dpbench.training.resumable import State
from dpbench.training.task import Objective, Setting, Step, TrainingData

_GAP = 0.03
"""How far the accuracies on members and on others must be apart for the penalty to act."""


@register
@dataclass(frozen=True, kw_only=True)
class MixupMmd(Defense):
    """Mixup, and `weight * MMD²` between the outputs of a batch and of public examples like it.

    Li, Li & Ribeiro 2021, section 4: after an epoch at whose end the accuracies on members and on
    held-out data are three points or more apart, the maximum mean discrepancy (Gaussian kernel of
    bandwidth 1) between the softmax outputs of the batch and those of as many held-out examples of
    the same classes is added to the loss. The held-out side is public here, and has no gradient, as
    in the released code. That code takes the penalty's steps in a pass of their own after each
    epoch but the last; here it is part of every step of the next epoch, except in the last one,
    which is plain mixup there too.

    Attributes:
        weight: Of the penalty.
        alpha: Of mixup; see `mixup`.
    """

    reference: ClassVar[str] = (
        "Li, Li & Ribeiro 2021, Membership Inference Attacks and Defenses in Classification Models"
    )
    search: ClassVar = {"weight": Search(0.3, 30.0)}
    version: ClassVar[int] = 2
    mixes_examples: ClassVar[bool] = True

    weight: NonNegative = 3.0
    alpha: Positive = 1.0

    @property
    def cost(self) -> float:
        """Every step asks the models about public examples, those of all models side by side."""
        return 4.5

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Mixes a batch."""
        return Mixup(alpha=self.alpha).augment(inputs, targets, generator)

    def require(self, data: TrainingData) -> None:
        """Refuses an empty reference set."""
        require_public(data, self.name)

    def objective(self, setting: Setting) -> Objective:
        """Returns the loss.

        Raises:
            UserError: There are no public examples.
        """
        self.require(setting.data)
        return _Losses(self, setting)


class _Losses:
    """The losses of K models, with the penalty where the last epoch's end calls for it."""

    def __init__(self, defense: MixupMmd, setting: Setting) -> None:
        self._defense, self._held_out = defense, _HeldOut(setting)
        self._per_epoch = max(1, round(setting.sampling.steps_per_epoch))
        self._last = setting.sampling.steps - self._per_epoch

    def __call__(self, step: Step) -> Tensor:
        """Returns the losses `(K, B)`."""
        held_out = self._held_out
        if step.number > 1 and (step.number - 1) % self._per_epoch == 0:
            held_out.look()
        loss = self._defense.loss(step.logits, step.targets)
        if step.number > self._last or not held_out.any_apart:
            return loss
        others = held_out.like(step.targets.argmax(-1))
        penalty = squared_mmd(step.logits.softmax(-1), others)
        return loss + (self._defense.weight * held_out.apart * penalty)[:, None]

    def state(self) -> State:
        """Returns which models are penalised."""
        return {"apart": self._held_out.apart}

    def restore(self, state: State) -> None:
        """Goes on from there."""
        self._held_out.set_apart(state["apart"])


class _HeldOut:
    """What K models make of the public examples, as of the last epoch's end."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        labels = setting.data.reference_targets.to(setting.generator.device)
        self._labels = labels
        order = labels.argsort(stable=True)
        counts = torch.bincount(labels, minlength=setting.n_classes)
        self._order, self._counts = order, counts
        self._starts = counts.cumsum(0) - counts
        self.apart = torch.zeros(setting.models, device=labels.device)
        self.any_apart = False

    def look(self) -> None:
        """Compares the models' accuracies on members and on public examples."""
        data, members = self._setting.data, self._setting.members.float()
        known = data.targets.argmax(-1) if data.targets.is_floating_point() else data.targets
        right = (self._setting.predict(data.inputs).argmax(-1) == known).float()
        inside = (right * members).sum(1) / members.sum(1)
        public = self._setting.predict(data.reference_inputs).argmax(-1) == self._labels
        self.set_apart(((inside - public.float().mean(1)).abs() >= _GAP).float())

    def set_apart(self, apart: Tensor) -> None:
        """Remembers which models are penalised; asks a GPU once an epoch, not at every step."""
        self.apart.copy_(apart)
        self.any_apart = bool(self.apart.any())

    def like(self, classes: Tensor) -> Tensor:
        """Returns outputs `(K, B, C)` on random public examples of given classes `(K, B)`.

        A class of which there is no public example is stood in for by any.
        """
        generator = self._setting.generator
        draws = torch.rand(classes.shape, generator=generator, device=classes.device)
        counts = self._counts[classes]
        within = self._starts[classes] + (draws * counts).long()
        anywhere = (draws * len(self._labels)).long()
        rows = self._order[torch.where(counts > 0, within, anywhere)]
        distinct, places = torch.unique(rows, return_inverse=True)
        outputs = self._setting.predict(self._setting.data.reference_inputs[distinct]).softmax(-1)
        return outputs.gather(1, places[..., None].expand(-1, -1, outputs.shape[-1]))


def squared_mmd(some: Tensor, others: Tensor) -> Tensor:
    """Returns the squared discrepancy `(K,)` of samples `(K, B, C)`: V-statistic, bandwidth 1."""

    def mean_kernel(left: Tensor, right: Tensor) -> Tensor:
        distances = (left[:, :, None] - right[:, None]).square().sum(-1)
        return (-distances / 2).exp().mean((1, 2))

    both = mean_kernel(some, some) + mean_kernel(others, others)
    return both - 2 * mean_kernel(some, others)
