"""Modified entropy: doubt, and certainty about the wrong class, both speak against membership."""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dpbench.arrays import Floats, Ints
from dpbench.attacks.toolbox.class_thresholds import ThresholdAttack, Thresholds
from dpbench.attacks.toolbox.confidence import cross_entropy
from dpbench.component import register

SMALLEST_LOG = math.log(1e-30)
"""No logarithm is taken to be lower (Song and Mittal 2021, official code)."""


@register
@dataclass(frozen=True, kw_only=True)
class ModifiedEntropy(ThresholdAttack):
    """Membership by `-Mentr = (1 - p_y) log p_y + sum_{k != y} p_k log(1 - p_k)`.

    Song and Mittal 2021, with thresholds that depend on the class. Unlike the entropy, Mentr falls
    with the score of the true class and rises with that of every other. It assumes that the points
    of one class are alike in difficulty: they share a threshold.

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
        """Returns minus the modified entropy."""
        return negative_modified_entropy(outputs, labels)


def negative_modified_entropy(outputs: Floats, labels: Ints) -> Floats:
    """Returns `-Mentr` `(M, n)`, between -139 and 0 for scores that sum to 1.

    `1 - p_y` is the sum of the other scores, and `log(1 - p_k)` is `log1p(-p_k)`: scores that round
    to 1 and to 0 stay apart.

    Args:
        outputs: `(M, n, C)` released scores, non-negative.
        labels: `(n,)` true labels.
    """
    own_logs = np.maximum(-cross_entropy(outputs, labels), SMALLEST_LOG)
    rows = np.arange(len(labels))
    entropies = np.empty(own_logs.shape)
    for model, released in enumerate(outputs):
        others = released.astype(np.float64)
        others[rows, labels] = 0.0
        logs = np.full(others.shape, SMALLEST_LOG)
        # Where a wrong class has all of the score, the floor stays.
        np.log1p(-others, out=logs, where=others < 1)
        entropies[model] = others.sum(-1) * own_logs[model] + (others * logs).sum(-1)
    return entropies
