"""Attack P: the target's losses on public points say which loss is unusually low."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.confidence import cross_entropy
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class AttackP(Attack):
    """Membership by one minus the p-value of the loss among public points.

    Ye et al. 2022, the attack through population data (P): a point is a member if its loss is at
    most the alpha-quantile of the target's own losses on a population. The score is
    `#{z: loss(z) > loss(x)} / (r + 1)` over r public points z: thresholding it at `1 - alpha` is
    that test, with at most alpha false positives if non-members are exchangeable with the public
    points. That fails if the public points were trained on, or come from elsewhere. For one target
    it ranks as `malt` does. It puts targets on a common scale without shadows. Losses between two
    neighbouring public losses tie, so it resolves no FPR below 1/r.

    Attributes:
        per_class: Compare with the public points of the point's class; classes without any are
            compared with all.
    """

    access: ClassVar[Access] = Access.SCORE
    reference: ClassVar[str] = (
        "Ye, Maddi, Murakonda, Bindschaedler and Shokri, Enhanced Membership Inference Attacks "
        "against Machine Learning Models, CCS 2022"
    )

    per_class: bool = False

    @property
    def budget(self) -> int:
        """The challenge points, and the public points."""
        return 2

    def score(self, view: View) -> Floats:
        """Returns the share of public losses that are larger, between 0 and r / (r + 1).

        Raises:
            NotApplicable: There are no public points.
        """
        if len(view.reference_labels) == 0:
            raise NotApplicable("attack P needs public reference points")
        losses = cross_entropy(view.target.scores(), view.labels)
        public = cross_entropy(view.target.scores(view.reference_inputs), view.reference_labels)
        scores = share_above(losses, public)
        if self.per_class:
            for label in np.intersect1d(view.labels, view.reference_labels):
                own, alike = view.labels == label, view.reference_labels == label
                scores[:, own] = share_above(losses[:, own], public[:, alike])
        return scores


def share_above(losses: Floats, public: Floats) -> Floats:
    """Returns `#{public loss > loss} / (r + 1)` `(M, n)`, each model on its own.

    Args:
        losses: `(M, n)` losses.
        public: `(M, r)` losses of the same models on public points.
    """
    points = public.shape[1]
    above = np.empty(losses.shape)
    for model, (ordered, own) in enumerate(zip(np.sort(public, axis=1), losses, strict=True)):
        # Strictly above: a public loss that ties counts against membership, so the test stays valid
        # on releases with few values. The 1 in the divisor below is the point itself.
        above[model] = points - np.searchsorted(ordered, own, side="right")
    shares: Floats = above / (points + 1)
    return shares
