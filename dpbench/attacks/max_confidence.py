"""Maximum confidence: members are predicted with certainty, whatever their label."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dpbench.arrays import Floats, Ints
from dpbench.attacks.toolbox.class_thresholds import ThresholdAttack, Thresholds
from dpbench.attacks.toolbox.confidence import logit
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class MaxConfidence(ThresholdAttack):
    """Membership by the largest released score, `log max_k p_k - log sum of the others`.

    Attack 3 of Salem et al. 2019 thresholds `max_k p_k`. The logarithm of its odds ranks the same
    probabilities alike, and keeps those apart that round to 1. The true label is not used to score,
    so it takes a confidently wrong prediction for a member; it assumes that a model is surer of its
    members than of any non-member, which masking breaks with ease.

    Attributes:
        thresholds: `per_class` measures the score from the threshold of the point's class, learned
            on shadows (Song and Mittal 2021).
    """

    reference: ClassVar[str] = (
        "Salem, Zhang, Humbert, Berrang, Fritz and Backes, ML-Leaks: Model and Data Independent "
        "Membership Inference Attacks and Defenses on Machine Learning Models, NDSS 2019"
    )

    thresholds: Thresholds = "global"

    def statistic(self, outputs: Floats, labels: Ints) -> Floats:
        """Returns the log-odds of the predicted class."""
        return largest_logit(outputs, labels)


def largest_logit(outputs: Floats, labels: Ints) -> Floats:
    """Returns the log-odds `(M, n)` of the largest score.

    Args:
        outputs: `(M, n, C)` released scores, non-negative.
        labels: `(n,)` true labels, which do not matter.
    """
    # By model, since the predicted class of a point differs between models.
    rows = [logit(released[None], released.argmax(-1)) for released in outputs]
    return np.concatenate(rows)
