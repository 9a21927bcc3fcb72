"""Shokri et al.: one attack classifier per class, trained on shadow models."""

from dataclasses import dataclass
from typing import ClassVar

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, View
from dpbench.attacks.toolbox.shadow_classifier import membership_log_odds
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Shokri(Attack):
    """A classifier from the whole confidence vector to membership, one for each true class.

    Shokri et al. 2017: shadow models imitate the target, and their vectors on points they were and
    were not trained on are the training set. The paper leaves the kind of classifier open; here it
    is a logistic regression on the log-scores and the terms of the entropy, about as strong as a
    network of 64 units on these features. A target's classifiers are trained on the half of the
    models that it is not in. It assumes that members of a class look alike: it knows nothing of the
    point itself.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Shokri, Stronati, Song and Shmatikov, Membership Inference Attacks Against Machine "
        "Learning Models, IEEE S&P 2017"
    )

    def score(self, view: View) -> Floats:
        """Returns the log odds of membership.

        Raises:
            NotApplicable: There is only one model, hence no shadow.
        """
        targets = view.target.scores()
        shadows = targets if view.shadows is view.target else view.shadows.scores()
        return membership_log_odds(targets, shadows, view.members, groups=view.labels)
