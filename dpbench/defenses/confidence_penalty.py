"""Confidence penalty."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
from dpbench.training.recipe import NonNegative


@register
@dataclass(frozen=True, kw_only=True)
class ConfidencePenalty(Defense):
    """Rewards the entropy of the output: `CE - α H(p)`.

    Attributes:
        alpha: α.
    """

    reference: ClassVar[str] = (
        "Pereyra et al. 2017, Regularizing Neural Networks by Penalizing Confident Output "
        "Distributions; as a defense: Chen, Yu & Fritz 2022, RelaxLoss, section 5"
    )
    search: ClassVar = {"alpha": Search(0.03, 3.0)}

    alpha: NonNegative = 0.1

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss `(...)`."""
        log_probs = logits.log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        return super().loss(logits, targets) - self.alpha * entropy
