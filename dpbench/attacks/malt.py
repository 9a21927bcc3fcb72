"""MALT: one loss threshold for all points."""

from dataclasses import dataclass
from typing import ClassVar

from dpbench.arrays import Floats, Ints
from dpbench.attacks.toolbox.class_thresholds import ThresholdAttack, Thresholds
from dpbench.attacks.toolbox.confidence import cross_entropy
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Malt(ThresholdAttack):
    """Membership by a global loss threshold: the score is `-loss(theta, z)`.

    It is the Bayes-optimal score `(tau(z) - loss) / T` of Sablayrolles et al. 2019 (Theorem 2) when
    `tau` is the same for all points, which fails where points differ in difficulty. It ranks points
    as the loss attack of Yeom et al. 2018 does.

    Attributes:
        thresholds: `per_class` measures the score from the threshold of the point's class, learned
            on shadows: the confidence attack of Song and Mittal 2021. `global` uses no shadow.
    """

    reference: ClassVar[str] = (
        "Sablayrolles, Douze, Ollivier, Schmid and Jegou, White-box vs Black-box: Bayes Optimal "
        "Strategies for Membership Inference, ICML 2019"
    )

    thresholds: Thresholds = "global"

    def statistic(self, outputs: Floats, labels: Ints) -> Floats:
        """Returns minus the cross-entropy."""
        return -cross_entropy(outputs, labels)
