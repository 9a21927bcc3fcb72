"""Salem et al.: one attack classifier on the three largest scores."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, View
from dpbench.attacks.toolbox.shadow_classifier import membership_log_odds
from dpbench.component import register

TOP = 3


@register
@dataclass(frozen=True, kw_only=True)
class Salem(Attack):
    """A classifier from the three largest released scores, sorted, to membership.

    Salem et al. 2019, adversary 1, with all shadows instead of one: the classifier knows neither
    the true class nor which classes scored, so that it would carry over to other data sets. Here it
    is a logistic regression on the log-scores and the terms of the entropy (the paper's is a small
    network), trained on the half of the models that the target is not in. It assumes that members
    are released with more confidence, right or wrong.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Salem, Zhang, Humbert, Berrang, Fritz and Backes, ML-Leaks: Model and Data Independent "
        "Membership Inference Attacks and Defenses on Machine Learning Models, NDSS 2019"
    )

    def score(self, view: View) -> Floats:
        """Returns the log odds of membership.

        Raises:
            NotApplicable: There is only one model, hence no shadow.
        """
        targets = _largest(view.target.scores())
        shadows = targets if view.shadows is view.target else _largest(view.shadows.scores())
        one_group = np.zeros(len(view.labels), np.int64)
        return membership_log_odds(targets, shadows, view.members, groups=one_group)


def _largest(outputs: Floats) -> Floats:
    """Returns `(M, n, 3)` the largest scores in falling order; all where there are fewer."""
    return np.sort(outputs, axis=-1)[..., : -TOP - 1 : -1]
