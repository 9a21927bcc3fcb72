"""Release confidences at another temperature."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
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
    search: ClassVar = {"temperature": Search(2.0, 50.0)}

    temperature: Positive = 5.0

    def release(self, outputs: Tensor) -> Tensor:
        """Re-normalises p^(1/T) over `(..., C)` probabilities."""
        return _powered(outputs, 1 / self.temperature)

    def undo(self, released: Tensor) -> Tensor:
        """Inverts the map: p^T, re-normalised."""
        return _powered(released, self.temperature)


def _powered(probabilities: Tensor, power: float) -> Tensor:
    """Re-normalises p^power; probabilities that underflowed to zero keep a finite logit."""
    return (probabilities.double().clamp_min(1e-45).log() * power).softmax(-1).float()
