"""MAST: a loss threshold for each point, from shadow models."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from dpbench.arrays import Bools, Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.confidence import cross_entropy, of_targets_and_shadows
from dpbench.attacks.toolbox.leave_one_out import leave_one_out, means
from dpbench.attacks.toolbox.shadow_means import out_means
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Mast(Attack):
    """Membership by a threshold per sample: the score is `tau(z) - loss(theta, z)`.

    Sablayrolles et al. 2019, Theorem 2 with a threshold that depends on z. The paper leaves the
    estimate of `tau(z)` open; all of the choices below ignore how much the losses spread.

    Attributes:
        threshold: How `tau(z)` is estimated. `midpoint`: between the mean losses of the shadows
            trained with z and of those trained without it (as Carlini et al. 2022, section V-C,
            re-implement it); a single shadow that releases 0 for the true class (loss 103.6) moves
            it far. `cut`: the cut between two shadow losses that best tells IN from OUT, the mean
            of equally good ones. `soft_min`: `-log mean exp(-loss)` over OUT shadows, the paper's
            tau at temperature 1. `out_mean`: the mean OUT loss, Watson et al.'s calibration. The
            last two are offline: they use no shadow trained with z.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Sablayrolles, Douze, Ollivier, Schmid and Jegou, White-box vs Black-box: Bayes Optimal "
        "Strategies for Membership Inference, ICML 2019"
    )

    threshold: Literal["midpoint", "cut", "soft_min", "out_mean"] = "midpoint"

    def score(self, view: View) -> Floats:
        """Returns how far the target's loss lies below the sample's threshold.

        Raises:
            NotApplicable: There is only one model, hence no shadow; or, offline, none of a target's
                shadows was trained without any of the points.
        """
        if len(view.members) < 2:
            raise NotApplicable("MAST needs at least one shadow model")
        losses, shadow_losses = of_targets_and_shadows(view, cross_entropy)
        return self._threshold(shadow_losses, view.members) - losses

    def _threshold(self, losses: Floats, members: Bools) -> Floats:
        match self.threshold:
            case "midpoint":
                return _midpoint(losses, members)
            case "cut":
                return _best_cut(losses, members)
            case "soft_min":
                return -np.log(out_means(np.exp(-losses), members))
            case "out_mean":
                return out_means(losses, members)


def _midpoint(losses: Floats, members: Bools) -> Floats:
    mean_in, mean_out = means(leave_one_out(losses, members), leave_one_out(losses, ~members))
    return (mean_in + mean_out) / 2


def _best_cut(losses: Floats, members: Bools) -> Floats:
    """Returns `(M, n)` the cut with the largest share of IN below it plus of OUT above it.

    It is the midpoint where no cut is better than a guess.
    """
    cuts = _midpoint(losses, members)
    order = np.argsort(losses, axis=0, kind="stable")
    ranked, bits = np.take_along_axis(losses, order, 0), np.take_along_axis(members, order, 0)
    rank = np.argsort(order, axis=0)
    others = len(losses) - 1
    if others < 2:
        return cuts
    position = np.arange(others)[:, None]
    for target in range(len(losses)):
        # The ranking without the target: models above it move down by one.
        before = position < rank[target]
        values = np.where(before, ranked[:-1], ranked[1:])
        inside = np.where(before, bits[:-1], bits[1:])
        n_in = inside.sum(0)
        # Share of IN below minus share of OUT below, times both counts: integers, so that equally
        # good cuts compare equal.
        gain = np.where(inside, others - n_in, -n_in).cumsum(0)[:-1]
        # Two equal losses have no cut between them.
        gain[values[1:] == values[:-1]] = -1
        best = gain == gain.max(0)
        between = (values[1:] + values[:-1]) / 2
        # A cut of gain 0 or less tells nothing: one side is missing, or IN has the larger losses.
        found = gain.max(0) > 0
        cuts[target, found] = ((between * best).sum(0) / best.sum(0))[found]
    return cuts
