"""Attack R: the share of models without the point that do worse on it."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, View
from dpbench.attacks.toolbox.confidence import logit, of_targets_and_shadows
from dpbench.attacks.toolbox.shadow_quantile import share_below, smooth_log_odds
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class AttackR(Attack):
    """The rank of the target's loss among the losses of shadows trained without the point.

    Ye et al. 2022, attack R: the point is called a member when the target's loss lies below the
    alpha-quantile of its OUT losses; the score is one minus the smallest such alpha. It assumes
    nothing about the shape of their distribution, and pays for it: with N OUT shadows the score
    takes N + 1 values, so that no FPR below about 1/N can be aimed at.

    Attributes:
        smoothing: `none`, the paper's empirical quantile, or `kernel`: every shadow becomes a
            logistic density in the logit-scaled confidence, and the score (the log odds of the
            rank) keeps rising beyond the best shadow. That tail is an assumption, not a
            measurement.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Ye, Maddi, Murakonda, Bindschaedler and Shokri, Enhanced Membership Inference Attacks "
        "against Machine Learning Models, CCS 2022"
    )

    smoothing: Literal["none", "kernel"] = "none"

    def score(self, view: View) -> Floats:
        """Returns the share of OUT shadows with a higher loss, or its smoothed log odds.

        Raises:
            NotApplicable: There is only one model, hence no shadow.
        """
        # The logit falls strictly with the loss, so the ranks are the same.
        observed, shadows = of_targets_and_shadows(view, logit)
        standing = share_below if self.smoothing == "none" else smooth_log_odds
        return standing(observed, shadows, view.members)
