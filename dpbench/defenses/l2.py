"""L2 regularisation."""

from dataclasses import dataclass, replace
from typing import ClassVar

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.training.recipe import NonNegative, Recipe


@register
@dataclass(frozen=True, kw_only=True)
class L2(Defense):
    """Weight decay over all parameters: ½λ‖W‖² is added to the loss.

    torch's convention. Keras and the code of Choquette-Choo et al. (2021) write λ‖W‖² without
    the ½: their λ is half of this one.

    Attributes:
        weight_decay: λ.
    """

    name: ClassVar[str] = "l2"
    reference: ClassVar[str] = "Shokri et al. 2017, Membership Inference Attacks, section VIII-B"

    weight_decay: NonNegative

    def adapt(self, recipe: Recipe) -> Recipe:
        """Replaces the recipe's weight decay."""
        return replace(recipe, weight_decay=self.weight_decay)
