"""Several defenses at once."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dpbench.defenses.base import TRAINING_STAGES, Defense, overrides, released
from dpbench.errors import UserError
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Loss, Mechanism, Penalty, TrainingData


@dataclass(frozen=True)
class Composition:
    """Defenses applied in order: stages chain, except that only one loss and one mechanism fit.

    Weight decay and penalties on the weights act after the noise of a DP mechanism, and `release`
    acts after training, so both keep its claim. Stopping by patience looks at the model's
    performance at every epoch and releases a data-dependent choice of iterate. DP-SGD's accounting
    covers all iterates, and the reference data are public, so that choice is post-processing too.
    """

    parts: tuple[Defense, ...]

    def __post_init__(self) -> None:
        """Refuses two parts that both replace the loss or the mechanism."""
        for stage in ("loss", "mechanism"):
            names = [part.name for part in self.parts if overrides(part, stage)]
            if len(names) > 1:
                raise UserError(
                    f"defenses {' and '.join(names)} cannot be composed: both replace the {stage}",
                    next_step="keep one of them",
                )

    @property
    def name(self) -> str:
        """Names joined by `+`."""
        return "+".join(part.name for part in self.parts)

    @property
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

    def adapt(self, recipe: Recipe) -> Recipe:
        """Chains the parts' changes to the recipe."""
        for part in self.parts:
            recipe = part.adapt(recipe)
        return recipe

    def prepare(self, data: TrainingData) -> TrainingData:
        """Chains the parts' changes to the training data."""
        for part in self.parts:
            data = part.prepare(data)
        return data

    def loss(self) -> Loss | None:
        """The replaced loss, or None for cross-entropy."""
        return next((part.loss for part in self.parts if overrides(part, "loss")), None)

    def regularise(self) -> Penalty | None:
        """The sum of the parts' penalties, or None."""
        penalties: list[Penalty] = [
            part.regularise for part in self.parts if overrides(part, "regularise")
        ]
        if not penalties:
            return None
        return partial(_total, penalties)

    def mechanism(self, sampling: Sampling) -> Mechanism | None:
        """The replaced mechanism, or None for plain SGD."""
        for part in self.parts:
            if overrides(part, "mechanism"):
                return part.mechanism(sampling)
        return None

    def release(self, outputs: Tensor, generator: torch.Generator) -> Tensor:
        """Chains what the parts do to released probabilities `(..., C)`."""
        for part in self.masks:
            outputs = released(part, outputs, generator)
        return outputs

    def undo(self, released: Tensor) -> Tensor:
        """Chains what an informed adversary does about each mask, last mask first."""
        for part in reversed(self.masks):
            released = part.undo(released)
        return released

    @property
    def can_be_undone(self) -> bool:
        """Whether knowing the masks changes what an adversary makes of a release."""
        return any(overrides(part, "undo") for part in self.masks)

    def training_identity(self) -> list[dict[str, Any]]:
        """What enters a training's key beside the adapted recipe and mechanism.

        Parts that only adapt the recipe or set the mechanism are known by what they made of these,
        and parts that only release are not part of the training at all.
        """
        code = [stage for stage in TRAINING_STAGES if stage not in ("adapt", "mechanism")]
        return [
            part.identity() for part in self.parts if any(overrides(part, stage) for stage in code)
        ]


def _total(penalties: list[Penalty], weights: dict[str, Tensor]) -> Tensor:
    return torch.stack([penalty(weights) for penalty in penalties]).sum(0)
