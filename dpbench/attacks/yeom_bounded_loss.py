"""Yeom et al.'s first adversary: the lower the loss, the likelier a coin falls on "member"."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, View
from dpbench.attacks.toolbox.confidence import cross_entropy
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class YeomBoundedLoss(Attack):
    """Calls a point a non-member with probability `loss / bound`.

    Yeom et al. 2018, Adversary 1. For a loss between 0 and B its expected advantage is *exactly*
    `(E[loss | out] - E[loss | in]) / B` (their Theorem 2), whatever the distribution of losses: a
    prediction to check a whole evaluation against, and not a strong attack. Cross-entropy has no
    bound; losses above `bound` count as `bound`.

    Attributes:
        bound: B, in nats. Under a large bound almost every point is called a member; a small one
            distinguishes only losses below it.
    """

    access: ClassVar[Access] = Access.SCORE
    reference: ClassVar[str] = (
        "Yeom, Giacomelli, Fredrikson and Jha, Privacy Risk in Machine Learning: Analyzing the "
        "Connection to Overfitting, CSF 2018"
    )

    bound: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0

    def score(self, view: View) -> Floats:
        """Returns 1 where the coin says member, else 0."""
        losses = np.minimum(cross_entropy(view.target.scores(), view.labels), self.bound)
        # random() is in [0, 1): a loss of 0 always counts as a member, a loss at the bound never.
        member = view.rng.random(losses.shape) >= losses / self.bound
        return np.asarray(member, dtype=np.float64)
