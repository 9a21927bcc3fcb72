"""MATT: how far training moved the weights against the point's gradient."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from scipy.special import softmax

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import Access, Attack, NotApplicable, Oracle, View
from dpbench.attacks.toolbox.leave_one_out import leave_one_out
from dpbench.attacks.toolbox.likelihood_ratio import likelihood_ratio
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Matt(Attack):
    """Membership by the Taylor trick: the score is `-(theta - theta_0)^T grad loss(theta_0, z)`.

    Sablayrolles et al. 2019: to first order, how much the loss on z fell between theta_0, trained
    without z, and the target theta. It assumes that theta_0 lies on the target's own path: weights
    of deep networks that were initialised apart differ by more than any example moves them, and
    their difference means nothing. Hence two origins:

    Attributes:
        origin: `initial`: theta_0 is the target's own initialisation, which a worst-case
            adversary knows. The contribution of all members together is calibrated away: the score
            is the likelihood ratio of the statistic over shadows trained with and without z. The
            expansion is poor once training leaves the neighbourhood of its start.
            `shadows`: theta_0 is the mean weight of the shadows trained without z, and the score is
            the paper's. Only for networks whose logits are affine in their weights (softmax
            regression): there the loss is convex, and averaged weights make sense.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Sablayrolles, Douze, Ollivier, Schmid and Jegou, White-box vs Black-box: Bayes Optimal "
        "Strategies for Membership Inference, ICML 2019"
    )

    origin: Literal["initial", "shadows"] = "initial"

    @property
    def budget(self) -> int:
        """Weights, initial weights and slopes; or logits alone."""
        return 3 if self.origin == "initial" else 1

    def score(self, view: View) -> Floats:
        """Returns the likelihood ratio of the descent, or the descent from the shadows' mean.

        Raises:
            NotApplicable: There are no weights to see or too few shadows, or `origin` is `shadows`
                and the network is not linear.
        """
        if self.origin == "shadows":
            return self._from_shadows(view)
        observed = descent(view.target)
        shadows = observed if view.shadows is view.target else descent(view.shadows)
        return likelihood_ratio(observed, shadows, view.members, variance="pooled")

    def _from_shadows(self, view: View) -> Floats:
        if not view.target.linear:
            raise NotApplicable(
                "weights of networks that were initialised apart have no meaningful mean: "
                "origin: shadows is for softmax regression"
            )
        observed = view.target.logits()
        shadows = observed if view.shadows is view.target else view.shadows.logits()
        return descent_from_shadows(observed, shadows, view.labels, view.members)


def descent(oracle: Oracle) -> Floats:
    """Returns `-(theta - theta_0)^T grad loss(theta_0, z)` `(M, n)` from the initial weights."""
    start = oracle.initial_weights()
    return -oracle.slopes(start, oracle.weights() - start)


def descent_from_shadows(observed: Floats, shadows: Floats, labels: Ints, members: Bools) -> Floats:
    """Returns the same `(M, n)` from the mean weights of the shadows trained without the point.

    Where logits are affine in the weights, those mean weights have the mean logits z_0, and the
    score is `-(softmax(z_0) - e_y)^T (z - z_0)`: no weight has to be averaged for any point.

    Args:
        observed: `(M, n, C)` the targets' logits z.
        shadows: `(M, n, C)` the shadows' logits.
        labels: `(n,)` true labels y.
        members: `(M, n)` the shadows' bits; row t is left out for target t.

    Raises:
        NotApplicable: Some target has no shadow that was trained without any point.
    """
    known = (~members).sum(0) - ~members > 0
    if not known.any(1).all():
        raise NotApplicable("MATT needs a shadow model trained without the point")
    columns = np.moveaxis(shadows.astype(np.float64), 2, 0)
    before = np.stack([leave_one_out(column, ~members).mean for column in columns], axis=2)
    gradient = softmax(before, axis=2)
    gradient[:, np.arange(len(labels)), labels] -= 1
    scores = -(gradient * (observed - before)).sum(2)
    # A point that every shadow was trained with has no reference, and takes the mean of the others.
    mean: Floats = np.where(known, scores, 0).sum(1, keepdims=True) / known.sum(1, keepdims=True)
    completed: Floats = np.where(known, scores, mean)
    return completed
