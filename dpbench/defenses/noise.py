"""Release noisy confidences."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
from dpbench.training.recipe import NonNegative

_FLOOR = 1e-12


@register
@dataclass(frozen=True, kw_only=True)
class Noise(Defense):
    """Adds Gaussian noise to every confidence, clips at zero, normalises, and keeps the label.

    The predicted label keeps its place by swapping its noisy confidence with the largest one. Every
    query draws fresh noise, so averaging repeated queries removes it: an informed adversary
    averages 64 answers, which is noise of an eighth of the scale. What clipping and the swap add to
    the mean stays.

    Attributes:
        scale: Standard deviation of the noise, in units of probability.
    """

    name: ClassVar[str] = "noise"
    version: ClassVar[int] = 2
    reference: ClassVar[str] = "Jia et al. 2019, MemGuard, section 2.3 (random noise baseline)"
    search: ClassVar = {"scale": Search(0.01, 0.5)}
    randomised: ClassVar[bool] = True
    repeats: ClassVar[int] = 64

    scale: NonNegative = 0.1

    def release(self, outputs: Tensor, generator: Generator | None = None) -> Tensor:
        """Perturbs `(..., C)` probabilities with noise from the generator."""
        noise = torch.empty_like(outputs).normal_(0, 1, generator=generator)
        # A floor far below any threshold keeps the sum positive when all confidences clip at zero,
        # and the label above the others.
        noisy = (outputs + self.scale * noise).clamp_min_(_FLOOR)
        label, largest = outputs.argmax(-1, keepdim=True), noisy.argmax(-1, keepdim=True)
        top, own = noisy.gather(-1, largest).clamp_min(2 * _FLOOR), noisy.gather(-1, label)
        swapped = noisy.scatter(-1, largest, own).scatter_(-1, label, top)
        return swapped / swapped.sum(-1, keepdim=True)
