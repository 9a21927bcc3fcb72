"""Merlin: noise raises the loss of members."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, View
from dpbench.attacks.toolbox.confidence import cross_entropy
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Merlin(Attack):
    """The share of noisy copies on which the target's loss is larger than on the point itself.

    Jayaraman et al. 2021: training leaves members near a local minimum of the loss over inputs, so
    that small noise tends to raise it. It assumes noise small enough to see the curvature and large
    enough to matter. The score is a multiple of `1 / copies`; a loss that does not change at all
    (saturated or masked releases) counts as not larger.

    Attributes:
        copies: Noisy copies of each point, the same for all models; the paper takes 100.
        scale: Standard deviation of the Gaussian noise on every feature, binary ones included, as a
            share of a raw unit; noisy features may leave their range, as in the paper.
    """

    access: ClassVar[Access] = Access.SCORE
    reference: ClassVar[str] = (
        "Jayaraman, Wang, Knipmeyer, Gu and Evans, Revisiting Membership Inference Under Realistic "
        "Assumptions, PETS 2021"
    )

    copies: Annotated[int, Field(ge=1)] = 32
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01

    @property
    def budget(self) -> int:
        """The point and its copies."""
        return self.copies + 1

    def score(self, view: View) -> Floats:
        """Returns the share of copies with a larger loss."""
        losses = cross_entropy(view.target.scores(), view.labels)
        return merlin_ratio(view, losses, copies=self.copies, scale=self.scale)


def merlin_ratio(view: View, losses: Floats, *, copies: int, scale: float) -> Floats:
    """Returns `(M, n)` the share of noisy copies with a larger loss than `losses (M, n)`."""
    larger = np.zeros(losses.shape)
    for _ in range(copies):
        noise = view.rng.standard_normal(view.inputs.shape, dtype=np.float32)
        noisy = (view.inputs + scale * view.unit * noise).astype(view.inputs.dtype, copy=False)
        larger += cross_entropy(view.target.scores(noisy), view.labels) > losses
    return larger / copies
