"""Label LiRA: a likelihood ratio of being right, from labels alone."""

from dataclasses import dataclass
from typing import ClassVar

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.correctness import correctness_ratio, right_targets_and_shadows
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class LabelLira(Attack):
    """The likelihood ratio of the prediction's correctness, one Bernoulli per point and side.

    LiRA's test (Carlini et al. 2022, Algorithm 1) on the only bit that a label-only release shows:
    `log P(correct | IN) - log P(correct | OUT)` if the target is right, else the same of being
    wrong, with smoothed frequencies over shadows (`correctness_ratio`). Where IN and OUT shadows
    agree the score is exactly 0. It assumes shadows trained like the target.
    """

    access: ClassVar[Access] = Access.LABEL
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Carlini, Chien, Nasr, Song, Terzis and Tramer, Membership Inference Attacks From First "
        "Principles, IEEE S&P 2022"
    )

    def score(self, view: View) -> Floats:
        """Returns the log-likelihood ratio.

        Raises:
            NotApplicable: There is only one model, hence no shadow.
        """
        if len(view.members) < 2:
            raise NotApplicable("there is only one model, hence no shadow")
        return correctness_ratio(*right_targets_and_shadows(view), view.members)
