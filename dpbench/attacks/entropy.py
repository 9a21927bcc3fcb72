"""Prediction entropy: members are predicted with little doubt, whatever their label."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import entr

from dpbench.arrays import Floats, Ints
from dpbench.attacks.toolbox.class_thresholds import ThresholdAttack, Thresholds
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Entropy(ThresholdAttack):
    """Membership by minus the entropy of the released scores, `sum_k p_k log p_k`.

    Song and Mittal 2021, after Shokri et al. 2017, with thresholds that depend on the class. The
    true label sets the threshold and nothing else: a confidently wrong prediction has as little
    entropy as a confidently right one, and passes for a member.

    Attributes:
        thresholds: `per_class` measures the score from the threshold of the point's class, learned
            on shadows; `global` uses no shadow.
    """

    reference: ClassVar[str] = (
        "Song and Mittal, Systematic Evaluation of Privacy Risks of Machine Learning Models, "
        "USENIX Security 2021"
    )

    thresholds: Thresholds = "per_class"

    def statistic(self, outputs: Floats, labels: Ints) -> Floats:
        """Returns minus the entropy."""
        return negative_entropy(outputs, labels)


def negative_entropy(outputs: Floats, labels: Ints) -> Floats:
    """Returns `sum_k p_k log p_k` `(M, n)`, where a released 0 adds 0.

    Args:
        outputs: `(M, n, C)` released scores, non-negative.
        labels: `(n,)` true labels, which do not matter.
    """
    return np.stack([-entr(released.astype(np.float64)).sum(-1) for released in outputs])
