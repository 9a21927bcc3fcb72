"""L1 regularisation."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.l2 import kernels
from dpbench.defenses.search import Search
from dpbench.training.recipe import NonNegative
from dpbench.training.task import Weights


@register
@dataclass(frozen=True, kw_only=True)
class L1(Defense):
    """Adds `λ Σ|w|` over the kernels of dense layers to the loss.

    Filters and biases are free, as in the code of Choquette-Choo et al. (2021).

    Attributes:
        weight: λ.
    """

    name: ClassVar[str] = "l1"
    reference: ClassVar[str] = (
        "Choquette-Choo et al. 2021, Label-Only Membership Inference Attacks, section 5.4"
    )
    search: ClassVar = {"weight": Search(1e-5, 1e-2)}

    weight: NonNegative

    def regularise(self, weights: Weights) -> Tensor:
        """Returns the penalty `(K,)`."""
        sums = [value.abs().flatten(1).sum(1) for value in kernels(weights)]
        return self.weight * torch.stack(sums).sum(0)
