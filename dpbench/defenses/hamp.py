"""HAMP, its training: labels of high entropy, and a reward for entropy."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import LABEL_ATTACKS, Defense
from dpbench.defenses.search import Search
from dpbench.training.recipe import NonNegative

_HALVINGS = 60
"""Of an interval of probabilities: beyond them two bounds are the same number."""


@register
@dataclass(frozen=True, kw_only=True)
class Hamp(Defense):
    """Teaches soft labels of entropy `γ log C`: the training stage of HAMP.

    Chen & Pattabiraman 2024, section IV: every label keeps the most mass and shares the rest
    evenly, and the loss is `KL(soft | p) - C α H(p)`. (The released code averages the KL divergence
    over classes too, so its α, which are the published ones, weigh C times more against a
    divergence in the usual form; all of it is C times its loss.) The labels that come out still
    tell members apart: it hides confidence, not correctness.

    Attributes:
        gamma: Entropy of a label over that of the uniform distribution. Published: 0.95 (CIFAR-10),
            0.8 (Purchase-100), 0.5 (Location-30).
        alpha: Weight of the entropy. Published: 0.001 (CIFAR-10, Location-30), 0.01
            (Purchase-100).
    """

    reference: ClassVar[str] = (
        "Chen & Pattabiraman 2024, Overconfidence is a Dangerous Thing: Mitigating Membership "
        "Inference Attacks by Enforcing Less Confident Prediction"
    )
    search: ClassVar = {"gamma": Search(0.3, 0.99, "linear")}
    # Aerni et al. 2024: labels leak what the confidences no longer show.
    adaptive_attacks: ClassVar[tuple[str, ...]] = LABEL_ATTACKS

    gamma: Annotated[float, Field(ge=0, lt=1)] = 0.95
    alpha: NonNegative = 0.001

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss `(...)`; soft targets are flattened in proportion."""
        n_classes = logits.shape[-1]
        own, other = soft_label(self.gamma, n_classes)
        log_probs = logits.log_softmax(-1)
        entropy = -(log_probs.exp() * log_probs).sum(-1)
        # Cross-entropy with the soft label: what every class gets, and what the true one gets more.
        flat = -other * log_probs.sum(-1) + (own - other) * super().loss(logits, targets)
        divergence = flat - self.gamma * math.log(n_classes)
        return divergence - n_classes * self.alpha * entropy


def soft_label(gamma: float, n_classes: int) -> tuple[float, float]:
    """Returns the probabilities of the true class and of every other, of entropy `γ log C`.

    The released code lowers the former from 1 in steps of 0.01; this is the exact solution, as in
    Aerni et al. (2024), whose γ lie within one such step.
    """
    low, high = 1 / n_classes, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if _entropy(middle, n_classes) > gamma * math.log(n_classes):
            low = middle
        else:
            high = middle
    return high, (1 - high) / (n_classes - 1)


def _entropy(own: float, n_classes: int) -> float:
    rest = 1 - own
    if rest <= 0:
        return 0.0
    return -own * math.log(own) - rest * math.log(rest / (n_classes - 1))
