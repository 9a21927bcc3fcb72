"""Data augmentation: every step sees other copies of its images."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from pydantic import Field
from torch import Generator, Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Choice
from dpbench.errors import UserError
from dpbench.training.shifts import random_shifts
from dpbench.training.task import TrainingData

_WIDEST = 4
"""Largest shift, in pixels, that `lira` asks about."""


@register
@dataclass(frozen=True, kw_only=True)
class Augmentation(Defense):
    """Shifts every image at random, and mirrors it if asked, anew at every step.

    It lowers the confidence in any one copy, and makes the model right around its members: an
    attack that asks about shifted copies finds more, not less (Choquette-Choo et al. 2021, section
    5.3). Images only.

    Attributes:
        pixels: Largest shift in each direction; what it uncovers repeats the edge.
        flip: Mirror half of the images, left to right.
    """

    reference: ClassVar[str] = (
        "Choquette-Choo et al. 2021, Label-Only Membership Inference Attacks, section 5.3"
    )
    search: ClassVar = {"pixels": Choice((1, 2, 3))}
    pixels: Annotated[int, Field(ge=0)] = 1
    flip: bool = False

    @property
    def adaptive_attacks(self) -> tuple[str | Mapping[str, Any], ...]:  # type: ignore[override]
        """Attacks that ask about copies as the training shows them."""
        within, distance = min(self.pixels, _WIDEST), max(1, self.pixels)
        shifts = (2 * within + 1) ** 2
        queries = 2 * shifts if self.flip else shifts
        return (
            {"augmentation": {"magnitude": distance}},
            {"lira": {"queries": queries, "mirrored": self.flip}},
        )

    def require(self, data: TrainingData) -> None:
        """Refuses inputs that are not images."""
        shape = tuple(data.inputs.shape[1:])
        if len(shape) != 3:
            raise UserError(
                f"augmentation: inputs of shape {shape} are not images",
                allowed="data sets of images",
            )

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Moves a batch `(K, B, channels, height, width)`."""
        moved = random_shifts(inputs, generator, pixels=self.pixels, flip=self.flip)
        return moved, targets
