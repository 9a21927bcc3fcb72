"""Release confidences at another temperature."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.training.recipe import Positive


@register
@dataclass(frozen=True, kw_only=True)
class Temperature(Defense):
    """Divides the logits by T before the softmax.

    The map is invertible, so an adaptive adversary loses nothing.

    Attributes:
        temperature: T; above 1 flattens the confidences, below 1 sharpens them.
    """

    name: ClassVar[str] = "temperature"
    reference: ClassVar[str] = "Shokri et al. 2017, Membership Inference Attacks, section VIII-B"

    temperature: Positive = 5.0

    def release(self, outputs: Tensor) -> Tensor:
        """Re-normalises p^(1/T) over `(..., C)` probabilities."""
        # Probabilities that underflowed to zero keep a finite logit.
        smallest = 1e-45
        return (outputs.double().clamp_min(smallest).log() / self.temperature).softmax(-1).float()
