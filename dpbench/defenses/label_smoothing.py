"""Label smoothing."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search


@register
@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(Defense):
    """Teaches `(1 - ε) y + ε / C`: members are not learned to certainty.

    The labels' entropy is hidden, not what the model knows of single members: with shadows that
    were smoothed alike, calibrated attacks often find more.

    Attributes:
        epsilon: ε.
    """

    reference: ClassVar[str] = (
        "Szegedy et al. 2016, Rethinking the Inception Architecture; as a defense: Chen, Yu & "
        "Fritz 2022, RelaxLoss, section 5"
    )
    search: ClassVar = {"epsilon": Search(0.05, 0.9, "linear")}

    epsilon: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the cross-entropy `(...)` with smoothed labels."""
        uniform = -logits.log_softmax(-1).mean(-1)
        return (1 - self.epsilon) * super().loss(logits, targets) + self.epsilon * uniform
