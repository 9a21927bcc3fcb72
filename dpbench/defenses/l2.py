"""L2 regularisation."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
from dpbench.training.recipe import NonNegative, Recipe
from dpbench.training.task import Weights


@register
@dataclass(frozen=True, kw_only=True)
class L2(Defense):
    """Weight decay. The convention says what λ multiplies, and of which weights.

    Attributes:
        weight_decay: λ.
        convention: `torch`: ½λ‖W‖² over all parameters, LayerNorm and biases included. `keras`:
            λ‖W‖² over the kernels of dense layers alone, as in the code of Choquette-Choo et al.
            (2021): filters and biases are free, and the same number weighs twice as much.
    """

    name: ClassVar[str] = "l2"
    reference: ClassVar[str] = "Shokri et al. 2017, Membership Inference Attacks, section VIII-B"
    search: ClassVar = {"weight_decay": Search(1e-4, 0.3)}

    weight_decay: NonNegative
    convention: Literal["torch", "keras"] = "torch"

    @property
    def replaces(self) -> frozenset[str]:
        """The recipe's decay, in either convention."""
        return frozenset({"weight_decay"})

    def adapt(self, recipe: Recipe) -> Recipe:
        """Replaces the recipe's weight decay."""
        own = self.weight_decay if self.convention == "torch" else 0.0
        return replace(recipe, weight_decay=own)

    @property
    def penalises(self) -> bool:
        """Only in the `keras` convention: torch's is the recipe's decay, which costs nothing."""
        return self.convention == "keras"

    def regularise(self, weights: Weights) -> Tensor:
        """Returns the penalty `(K,)` of the `keras` convention."""
        sums = [value.square().flatten(1).sum(1) for value in kernels(weights)]
        return self.weight_decay * torch.stack(sums).sum(0)


def kernels(weights: Weights) -> list[Tensor]:
    """Returns the stacked matrices of dense layers: no filters, no biases, no gains of norms."""
    return [value for value in weights.values() if value.dim() == 3]
