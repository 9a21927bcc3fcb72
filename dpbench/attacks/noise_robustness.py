"""Noise robustness: members keep their label under noise."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, View
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class NoiseRobustness(Attack):
    """The share of noisy copies that keep the true label; 0 if the clean point is misclassified.

    The random-noise attack of Choquette-Choo et al. 2021: training pushes decision boundaries away
    from members, and the survival of random noise measures that distance with labels alone. The
    score takes at most `copies` + 1 values; points far from every boundary tie at 1.

    Attributes:
        copies: Noisy copies of each point, the same for all models.
        scale: Standard deviation of the noise on continuous features, as a share of a raw unit;
            noisy features stay in their range.
        flip_probability: Chance that a binary feature flips; None flips 3 binary features of a
            point on average (the paper's grid is 1 to 10).
    """

    access: ClassVar[Access] = Access.LABEL
    reference: ClassVar[str] = (
        "Choquette-Choo, Tramer, Carlini and Papernot, Label-Only Membership Inference Attacks, "
        "ICML 2021"
    )

    copies: Annotated[int, Field(ge=1)] = 16
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    flip_probability: Annotated[float, Field(gt=0, lt=1)] | None = None

    @property
    def budget(self) -> int:
        """The clean point and its copies."""
        return self.copies + 1

    def score(self, view: View) -> Floats:
        """Returns the share of noisy copies classified as the true label."""
        clean = view.target.predictions() == view.labels
        kept = np.zeros(clean.shape)
        for _ in range(self.copies):
            copies = perturbed(view, scale=self.scale, flip_probability=self.flip_probability)
            kept += view.target.predictions(copies) == view.labels
        return np.where(clean, kept / self.copies, 0.0)


def perturbed(view: View, *, scale: float, flip_probability: float | None) -> Floats:
    """Returns noisy copies `(n, *shape)` of all challenge points, in the features' ranges.

    Args:
        view: Its generator draws the noise.
        scale: Standard deviation of the noise on continuous features, in raw units.
        flip_probability: Chance that a binary feature flips; None flips 3 of a point on average,
            and never more than half.
    """
    inputs, binary = view.inputs, view.binary
    noisy = inputs
    if not binary.all():
        noise = view.rng.standard_normal(inputs.shape, dtype=np.float32)
        noisy = np.clip(inputs + scale * view.unit * noise, view.low, view.high)
    if binary.any():
        probability = flip_probability or min(0.5, 3 / int(binary.sum()))
        flips = view.rng.random(inputs.shape, dtype=np.float32) < probability
        # Standardised binary features are rounded: compare with the middle of their range.
        other = np.where(inputs > (view.low + view.high) / 2, view.low, view.high)
        noisy = np.where(binary, np.where(flips, other, inputs), noisy)
    return noisy.astype(inputs.dtype, copy=False)
