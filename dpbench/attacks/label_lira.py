"""Label LiRA: a likelihood ratio of being right, from labels alone."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dpbench.attacks.base import Access, Attack, Floats, NotApplicable, View
from dpbench.attacks.leave_one_out import leave_one_out, means
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class LabelLira(Attack):
    """The likelihood ratio of the prediction's correctness, one Bernoulli per point and side.

    LiRA's test (Carlini et al. 2022, Algorithm 1) on the only bit that a label-only release shows:
    `log P(correct | IN) - log P(correct | OUT)` if the target is right, else the same of being
    wrong. A frequency f over shadows is smoothed to `(K f + 1/2) / (K + 1)`, with K half the
    shadows: the expected count, since the true one must not enter a score. Where IN and OUT shadows
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
        correct = view.target.predictions() == view.labels
        shadows = correct
        if view.shadows is not view.target:
            shadows = view.shadows.predictions() == view.labels
        right = shadows.astype(np.float64)
        inside, outside = leave_one_out(right, view.members), leave_one_out(right, ~view.members)
        half = (len(view.members) - 1) / 2
        chance_in, chance_out = (
            (half * np.clip(frequency, 0, 1) + 0.5) / (half + 1)
            for frequency in means(inside, outside)
        )
        return np.where(
            correct,
            np.log(chance_in / chance_out),
            np.log((1 - chance_in) / (1 - chance_out)),
        )
