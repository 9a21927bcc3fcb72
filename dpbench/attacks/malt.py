"""MALT: one loss threshold for all points."""

from dataclasses import dataclass
from typing import ClassVar

from dpbench.attacks.base import Access, Attack, Floats, Ints, View
from dpbench.attacks.toolbox.class_thresholds import Thresholds, thresholded
from dpbench.attacks.toolbox.confidence import cross_entropy
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Malt(Attack):
    """Membership by a global loss threshold: the score is `-loss(theta, z)`.

    It is the Bayes-optimal score `(tau(z) - loss) / T` of Sablayrolles et al. 2019 (Theorem 2) when
    `tau` is the same for all points, which fails where points differ in difficulty. It ranks points
    as the loss attack of Yeom et al. 2018 does.

    Attributes:
        thresholds: `per_class` measures the score from the threshold of the point's class, learned
            on shadows: the confidence attack of Song and Mittal 2021. `global` uses no shadow.
    """

    access: ClassVar[Access] = Access.SCORE
    reference: ClassVar[str] = (
        "Sablayrolles, Douze, Ollivier, Schmid and Jegou, White-box vs Black-box: Bayes Optimal "
        "Strategies for Membership Inference, ICML 2019"
    )

    thresholds: Thresholds = "global"

    @property
    def needs_shadows(self) -> bool:  # type: ignore[override]
        """Shadows teach the class thresholds."""
        return self.thresholds == "per_class"

    def score(self, view: View) -> Floats:
        """Returns minus the cross-entropy, from its class threshold if asked.

        Raises:
            NotApplicable: There are too few shadows to learn class thresholds from.
        """
        return thresholded(view, negative_cross_entropy, self.thresholds)


def negative_cross_entropy(outputs: Floats, labels: Ints) -> Floats:
    """Returns minus the loss `(M, n)` of released scores `(M, n, C)`."""
    return -cross_entropy(outputs, labels)
