"""Prediction entropy: members are predicted with little doubt, whatever their label."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy.special import entr

from dpbench.attacks.base import Access, Attack, Floats, Ints, View
from dpbench.attacks.toolbox.class_thresholds import Thresholds, thresholded
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Entropy(Attack):
    """Membership by minus the entropy of the released scores, `sum_k p_k log p_k`.

    Song and Mittal 2021, after Shokri et al. 2017, with thresholds that depend on the class. The
    true label sets the threshold and nothing else: a confidently wrong prediction has as little
    entropy as a confidently right one, and passes for a member.

    Attributes:
        thresholds: `per_class` measures the score from the threshold of the point's class, learned
            on shadows; `global` uses no shadow.
    """

    access: ClassVar[Access] = Access.SCORE
    reference: ClassVar[str] = (
        "Song and Mittal, Systematic Evaluation of Privacy Risks of Machine Learning Models, "
        "USENIX Security 2021"
    )

    thresholds: Thresholds = "per_class"

    @property
    def needs_shadows(self) -> bool:  # type: ignore[override]
        """Shadows teach the class thresholds."""
        return self.thresholds == "per_class"

    def score(self, view: View) -> Floats:
        """Returns minus the entropy, from its class threshold if asked.

        Raises:
            NotApplicable: There are too few shadows to learn class thresholds from.
        """
        return thresholded(view, negative_entropy, self.thresholds)


def negative_entropy(outputs: Floats, labels: Ints) -> Floats:
    """Returns `sum_k p_k log p_k` `(M, n)`, where a released 0 adds 0.

    Args:
        outputs: `(M, n, C)` released scores, non-negative.
        labels: `(n,)` true labels, which do not matter.
    """
    return np.stack([-entr(released.astype(np.float64)).sum(-1) for released in outputs])
