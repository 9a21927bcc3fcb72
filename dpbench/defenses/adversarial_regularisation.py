"""Adversarial regularisation: train against an attack network that learns along."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense, require_public
from dpbench.defenses.inference_network import InferenceNetwork
from dpbench.defenses.search import Search
from dpbench.training.recipe import NonNegative, Positive
from dpbench.training.resumable import State
from dpbench.training.task import Objective, Setting, Step, TrainingData


@register
@dataclass(frozen=True, kw_only=True)
class AdversarialRegularisation(Defense):
    """Cross-entropy plus `α (mean h - ½)`, where a network h guesses who is a member.

    Nasr, Shokri & Houmansadr 2018: a min-max game. h sees the class probabilities and the label; at
    every step of the model it first takes several of its own, up `½ E log h(members) + ½ E log (1 -
    h(public))`, with the reference set as its non-members. It protects against h: what another
    attack reads, from the label or from other models, it was not trained to hide.

    Attributes:
        alpha: Weight of the attack. Published: 3 (Purchase-100), 2 (Texas-100), 6 (CIFAR).
        attack_steps: Steps of h for each one of the model. The released code takes 26.
        warm_up: Epochs before the model fights back; h learns from the first step on.
        lr: Of Adam, for h.
        width: Units of the widest layer of h; 1024 as published.
    """

    reference: ClassVar[str] = (
        "Nasr, Shokri & Houmansadr 2018, Machine Learning with Membership Privacy using "
        "Adversarial Regularization"
    )
    search: ClassVar = {"alpha": Search(0.5, 20.0)}
    # Song & Mittal 2021 undid its claim with thresholds for each class.
    adaptive_attacks: ClassVar[tuple[str, ...]] = ("malt", "modified_entropy", "gap")

    alpha: NonNegative = 3.0
    attack_steps: Annotated[int, Field(ge=1)] = 5
    warm_up: NonNegative = 1.0
    lr: Positive = 1e-3
    width: Annotated[int, Field(ge=16)] = 64

    @property
    def cost(self) -> float:
        """A step of h asks the model about as many examples again, and is deeper than most."""
        return 1 + 3.0 * self.attack_steps

    def require(self, data: TrainingData) -> None:
        """Refuses an empty reference set."""
        require_public(data, self.name)

    def objective(self, setting: Setting) -> Objective:
        """Returns the model's loss; calling it trains h first.

        Raises:
            UserError: There are no public examples that h could take for non-members.
        """
        self.require(setting.data)
        return _Game(self, setting)


class _Game:
    """The losses of K models, each against an h that learns along."""

    def __init__(self, defense: AdversarialRegularisation, setting: Setting) -> None:
        self._defense, self._opponent = defense, _Opponent(defense, setting)
        self._begins = setting.sampling.steps_per_epoch * defense.warm_up

    def __call__(self, step: Step) -> Tensor:
        """Returns the models' losses, after the steps of h."""
        defense = self._defense
        for _ in range(defense.attack_steps):
            self._opponent.learn()
        loss = defense.loss(step.logits, step.targets)
        if step.number <= self._begins:
            return loss
        return loss + defense.alpha * (self._opponent.guess(step) - 0.5)

    def state(self) -> State:
        """Returns what h has learned."""
        return self._opponent.network.state()

    def restore(self, state: State) -> None:
        """Goes on from there."""
        self._opponent.network.restore(state)


class _Opponent:
    """h for each of K models, and what it learns from."""

    def __init__(self, defense: AdversarialRegularisation, setting: Setting) -> None:
        self._setting = setting
        self._labels = _classes(setting.data.targets).expand(setting.models, -1)
        self.network = InferenceNetwork(
            models=setting.models,
            n_classes=setting.n_classes,
            width=defense.width,
            lr=defense.lr,
            generator=setting.generator,
        )

    def learn(self) -> None:
        """Takes one step on as many members, in expectation, and public examples as in a batch.

        All models draw the same pool examples; each uses those that are its members.
        """
        data, sampling = self._setting.data, self._setting.sampling
        pool = self._drawn(len(data.inputs), sampling.rate * len(data.inputs))
        public = self._drawn(len(data.reference_inputs), sampling.batch)
        inputs = torch.cat([data.inputs[pool], data.reference_inputs[public]])
        known = data.reference_targets[public].expand(self._setting.models, -1)
        members = self._setting.members[:, pool].float()
        self.network.learn(
            self._setting.predict(inputs).softmax(-1),
            torch.cat([self._labels[:, pool], known], 1),
            torch.cat([members, members.new_full(known.shape, -1)], 1),
        )

    def guess(self, step: Step) -> Tensor:
        """Returns h's probability `(K, B)` that a batch's examples are members."""
        labels = step.targets.argmax(-1) if step.targets.is_floating_point() else step.targets
        return self.network.logits(step.logits.softmax(-1), labels).sigmoid()

    def _drawn(self, among: int, count: float) -> Tensor:
        generator = self._setting.generator
        size = (max(1, round(count)),)
        return torch.randint(among, size, generator=generator, device=generator.device)


def _classes(targets: Tensor) -> Tensor:
    """Returns the classes `(n,)` or `(K, n)` of hard or soft targets."""
    return targets.argmax(-1) if targets.is_floating_point() else targets
