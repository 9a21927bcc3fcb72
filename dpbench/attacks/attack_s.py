"""Attack S: one loss threshold, from the pooled losses of shadow models."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.confidence import cross_entropy, of_targets_and_shadows
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class AttackS(Attack):
    """The share of all shadow losses on points they were not trained on that exceed the target's.

    Ye et al. 2022, attack S: the point is called a member when its loss lies below the
    alpha-quantile of the OUT losses pooled over shadows and points. The score is one minus the
    smallest such alpha. It orders one target's points as MALT does, and adds a threshold that needs
    nothing of the target. It assumes that all points, or all of a class, are equally hard.

    Attributes:
        per_class: Pool the losses of each class apart.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Ye, Maddi, Murakonda, Bindschaedler and Shokri, Enhanced Membership Inference Attacks "
        "against Machine Learning Models, CCS 2022"
    )

    per_class: bool = False

    def score(self, view: View) -> Floats:
        """Returns the share of pooled OUT losses above the target's; a tie counts half.

        Raises:
            NotApplicable: There is only one model, hence no shadow.
        """
        if len(view.members) < 2:
            raise NotApplicable("there is only one model, hence no shadow")
        losses, shadow_losses = of_targets_and_shadows(view, cross_entropy)
        groups = view.labels if self.per_class else np.zeros_like(view.labels)
        scores = np.empty(losses.shape)
        for group in np.unique(groups):
            points = groups == group
            scores[:, points] = _shares_above(
                losses[:, points], shadow_losses[:, points], view.members[:, points]
            )
        return scores


def _shares_above(losses: Floats, shadow_losses: Floats, members: Bools) -> Floats:
    """Returns `(M, n)` the share of the other models' OUT losses above each loss; 1/2 if none."""
    pooled = np.sort(shadow_losses[~members])
    shares = np.full(losses.shape, 0.5)
    for target, own in enumerate(losses):
        own_row = np.sort(shadow_losses[target, ~members[target]])
        others = pooled.size - own_row.size
        if others:
            # Counts are integers, so subtracting the target's own row leaves no trace of its bits.
            shares[target] = 1 - (_twice_below(pooled, own) - _twice_below(own_row, own)) / (
                2 * others
            )
    return shares


def _twice_below(ranked: Floats, values: Floats) -> Ints:
    """Returns twice the number of `ranked` below each value, a tie counting half."""
    return np.searchsorted(ranked, values, "left") + np.searchsorted(ranked, values, "right")
