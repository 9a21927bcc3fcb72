"""MALT: one loss threshold for all points."""

from dataclasses import dataclass
from typing import ClassVar

from dpbench.attacks.base import Access, Attack, Floats, View
from dpbench.attacks.confidence import cross_entropy
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Malt(Attack):
    """Membership by a global loss threshold: the score is `-loss(theta, z)`.

    It is the Bayes-optimal score `(tau(z) - loss) / T` of Sablayrolles et al. 2019 (Theorem 2) when
    `tau` is the same for all points, which fails where points differ in difficulty. It ranks points
    as the loss attack of Yeom et al. 2018 does.
    """

    access: ClassVar[Access] = Access.SCORE
    reference: ClassVar[str] = (
        "Sablayrolles, Douze, Ollivier, Schmid and Jegou, White-box vs Black-box: Bayes Optimal "
        "Strategies for Membership Inference, ICML 2019"
    )

    def score(self, view: View) -> Floats:
        """Returns minus the cross-entropy of the released scores."""
        return -cross_entropy(view.target.scores(), view.labels)
