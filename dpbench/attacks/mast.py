"""MAST: a loss threshold for each point, from shadow models."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from dpbench.attacks.base import Access, Attack, Floats, NotApplicable, View
from dpbench.attacks.confidence import cross_entropy, of_targets_and_shadows
from dpbench.attacks.leave_one_out import leave_one_out, means
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Mast(Attack):
    """Membership by a threshold per sample: the score is `tau(z) - loss(theta, z)`.

    Sablayrolles et al. 2019, Theorem 2 with a threshold that depends on z. `tau(z)` is the midpoint
    of the mean losses of the shadows trained with z and of those trained without it (as Carlini et
    al. 2022, section V-C, re-implement it). The midpoint ignores how much the losses spread, and a
    single shadow that releases 0 for the true class (loss 103.6) moves it far.

    Attributes:
        threshold: How `tau(z)` is estimated.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Sablayrolles, Douze, Ollivier, Schmid and Jegou, White-box vs Black-box: Bayes Optimal "
        "Strategies for Membership Inference, ICML 2019"
    )

    threshold: Literal["midpoint"] = "midpoint"

    def score(self, view: View) -> Floats:
        """Returns how far the target's loss lies below the sample's threshold.

        Raises:
            NotApplicable: There is only one model, hence no shadow.
        """
        if len(view.members) < 2:
            raise NotApplicable("MAST needs at least one shadow model")
        losses, shadow_losses = of_targets_and_shadows(view, cross_entropy)
        mean_in, mean_out = means(
            leave_one_out(shadow_losses, view.members), leave_one_out(shadow_losses, ~view.members)
        )
        return (mean_in + mean_out) / 2 - losses
