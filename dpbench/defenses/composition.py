"""Several defenses at once."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor

from dpbench.defenses.base import (
    LABEL_ATTACKS,
    TRAINING_STAGES,
    Defense,
    State,
    overrides,
    released,
)
from dpbench.errors import UserError
from dpbench.models.base import Architecture
from dpbench.training.fit import fit
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import (
    Augment,
    Begin,
    Loss,
    Mechanism,
    Penalty,
    Progress,
    Snapshots,
    Task,
    TrainingData,
)

_ONLY_ONE = {"loss": ("loss", "objective"), "mechanism": ("mechanism",), "training": ("train",)}


@dataclass(frozen=True)
class Composition:
    """Defenses applied in order: stages chain, except those of which only one fits.

    Weight decay and penalties on the weights act after the noise of a DP mechanism, and `release`
    acts after training, so both keep its claim. Stopping by patience looks at the model's
    performance at every epoch and releases a data-dependent choice of iterate. DP-SGD's accounting
    covers all iterates, and the reference data are public, so that choice is post-processing too.
    A part that looks at the members in a way that the accounting does not cover drops the claim
    (`Defense.keeps_claim`); one that mixes examples cannot be clipped and is refused.
    """

    parts: tuple[Defense, ...]

    def __post_init__(self) -> None:
        """Refuses parts that replace the same thing, or clip what has no gradient of its own."""
        for what, stages in _ONLY_ONE.items():
            parts = [part for part in self.parts if any(overrides(part, one) for one in stages)]
            if len(parts) > 1:
                raise _rivals(parts, f"the {what}")
        for number, part in enumerate(self.parts):
            for other in self.parts[:number]:
                shared = part.replaces & other.replaces
                if shared:
                    raise _rivals([other, part], f"{', '.join(sorted(shared))} of the recipe")
        clipping = [part.name for part in self.parts if overrides(part, "mechanism")]
        mixing = [p.name for p in self.parts if overrides(p, "objective") or p.mixes_examples]
        if clipping and mixing:
            raise UserError(
                f"defenses {mixing[0]} and {clipping[0]} cannot be composed: {mixing[0]} lets the "
                "examples of a batch change each other's gradients, which then cannot be bounded",
                next_step="keep one of them",
            )

    @property
    def name(self) -> str:
        """Names joined by `+`."""
        return "+".join(part.name for part in self.parts)

    @cached_property
    def label(self) -> str:
        """The readable id of the cell."""
        return "+".join(part.label() for part in self.parts)

    @property
    def keeps_argmax(self) -> bool:
        """Whether no part changes a predicted label."""
        return all(part.keeps_argmax for part in self.parts)

    @property
    def masks(self) -> tuple[Defense, ...]:
        """The parts that change what is released."""
        return tuple(part for part in self.parts if overrides(part, "release"))

    @property
    def claim_dropped_by(self) -> tuple[str, ...]:
        """Names of the parts under which no mechanism's claim holds."""
        return tuple(part.name for part in self.parts if not part.keeps_claim)

    @property
    def adaptive_attacks(self) -> tuple[str | Mapping[str, Any], ...]:
        """What an adaptive adversary always runs, as a grid writes it.

        Beside what the parts declare: labels, wherever scores are masked.
        """
        declared = [attack for part in self.parts for attack in part.adaptive_attacks]
        return (*(LABEL_ATTACKS if self.masks else ()), *declared)

    @property
    def repeats(self) -> int:
        """How often an informed adversary repeats a query."""
        return max((part.repeats for part in self.masks), default=1)

    @property
    def cost(self) -> float:
        """Training work relative to one plain training."""
        return math.prod(part.cost for part in self.parts)

    def remodel(self, architecture: Architecture) -> Architecture:
        """Chains the parts' changes to the network."""
        for part in self.parts:
            architecture = part.remodel(architecture)
        return architecture

    @property
    def represents(self) -> bool:
        """Whether the network is given something else than the inputs."""
        return any(overrides(part, "represent") for part in self.parts)

    def represent(self, inputs: Tensor) -> Tensor:
        """Chains the parts' public features."""
        for part in self.parts:
            inputs = part.represent(inputs)
        return inputs

    def adapt(self, recipe: Recipe) -> Recipe:
        """Chains the parts' changes to the recipe."""
        for part in self.parts:
            recipe = part.adapt(recipe)
        return recipe

    def require(self, data: TrainingData) -> None:
        """Refuses data that a part cannot work with.

        Raises:
            UserError: The first part's reason.
        """
        for part in self.parts:
            part.require(data)

    def prepare(self, data: TrainingData) -> TrainingData:
        """Chains the parts' changes to the training data."""
        for part in self.parts:
            data = part.prepare(data)
        return data

    def augment(self) -> Augment | None:
        """The parts' changes to every batch in order, or None."""
        parts = [part.augment for part in self.parts if overrides(part, "augment")]
        return partial(_in_turn, parts) if parts else None

    def objective(self) -> Begin | None:
        """The loss that sees whole batches, or None."""
        return next((p.objective for p in self.parts if overrides(p, "objective")), None)

    def loss(self) -> Loss | None:
        """The replaced loss, or None for cross-entropy."""
        return next((part.loss for part in self.parts if overrides(part, "loss")), None)

    def regularise(self) -> Penalty | None:
        """The sum of the parts' penalties, or None."""
        penalties: list[Penalty] = [part.regularise for part in self.parts if part.penalises]
        if not penalties:
            return None
        return partial(_total, penalties)

    def mechanism(self, sampling: Sampling) -> Mechanism | None:
        """The replaced mechanism, or None; without its claim where another part drops it.

        Raises:
            UserError: It averages copies of an example that nothing tells apart.
        """
        for part in self.parts:
            if overrides(part, "mechanism"):
                mechanism = part.mechanism(sampling)
                if mechanism and mechanism.multiplicity > 1 and self.augment() is None:
                    raise UserError(
                        f"{part.label()}: nothing tells the copies of an example apart",
                        next_step=f"write [augmentation, {part.name}: {{...}}], or take one copy",
                    )
                others = [name for name in self.claim_dropped_by if name != part.name]
                return replace(mechanism, claim=None) if mechanism and others else mechanism
        return None

    def train(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Trains as the part that replaces training does, or once."""
        own = (part.train for part in self.parts if overrides(part, "train"))
        return next(own, fit)(task, progress)

    def release(
        self, outputs: Tensor, generator: torch.Generator, states: Sequence[State] = ()
    ) -> Tensor:
        """Chains what the parts do to released probabilities `(..., C)`.

        Args:
            outputs: Class probabilities; `(K, N, C)` where there are states.
            generator: For randomised parts.
            states: Those of the masks, in order; empty where no mask has one.
        """
        for number, part in enumerate(self.masks):
            outputs = released(part, outputs, generator, states[number] if states else None)
        return outputs

    @property
    def learns_release(self) -> bool:
        """Whether a mask must learn about the models before it can release."""
        return any(overrides(part, "fit_release") for part in self.masks)

    def undo(self, released: Tensor) -> Tensor:
        """Chains what an informed adversary does about each mask, last mask first."""
        for part in reversed(self.masks):
            released = part.undo(released)
        return released

    @property
    def can_be_undone(self) -> bool:
        """Whether knowing the masks changes what an adversary makes of a release."""
        return self.repeats > 1 or any(overrides(part, "undo") for part in self.masks)

    def identity(self) -> list[dict[str, Any]]:
        """Returns what enters a key."""
        return [part.identity() for part in self.parts]

    @cached_property
    def in_training(self) -> "Composition":
        """The parts that a training depends on beside the adapted recipe and the mechanism.

        Parts that only adapt the recipe or set the mechanism are known by what they made of these,
        and parts that only release are not part of the training at all.
        """
        code = [stage for stage in TRAINING_STAGES if stage not in ("adapt", "mechanism")]
        kept = (part for part in self.parts if any(overrides(part, stage) for stage in code))
        return Composition(tuple(kept))

    @cached_property
    def representation(self) -> "Composition":
        """The parts that give the network something else than the inputs."""
        return Composition(tuple(part for part in self.parts if overrides(part, "represent")))


def _rivals(parts: Sequence[Defense], what: str) -> UserError:
    names = " and ".join(part.name for part in parts)
    return UserError(
        f"defenses {names} cannot be composed: both replace {what}",
        next_step="keep one of them",
    )


def _in_turn(
    parts: Sequence[Augment], inputs: Tensor, targets: Tensor, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    for part in parts:
        inputs, targets = part(inputs, targets, generator)
    return inputs, targets


def _total(penalties: list[Penalty], weights: dict[str, Tensor]) -> Tensor:
    return torch.stack([penalty(weights) for penalty in penalties]).sum(0)
