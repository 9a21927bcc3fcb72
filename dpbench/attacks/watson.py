"""Difficulty calibration: how much better the target does than models without the point."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from dpbench.arrays import Floats, Ints
from dpbench.attacks.base import Access, Attack, View
from dpbench.attacks.toolbox.confidence import cross_entropy, of_targets_and_shadows
from dpbench.attacks.toolbox.shadow_means import out_means
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Watson(Attack):
    """A global attack's score minus its mean over shadows trained without the point.

    Watson et al. 2022, section 3: `s_cal(z) = s(theta, z) - mean over OUT shadows of s(., z)`. It
    assumes that difficulty shifts the score and leaves its spread alone. Even one shadow helps. It
    never uses a shadow trained with the point. With the loss it is MAST with the OUT mean as
    threshold.

    Attributes:
        statistic: `loss` (minus the cross-entropy) or `confidence` (the true class's share of the
            released scores).
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Watson, Guo, Cormode and Sablayrolles, On the Importance of Difficulty Calibration in "
        "Membership Inference Attacks, ICLR 2022"
    )

    statistic: Literal["loss", "confidence"] = "loss"

    def score(self, view: View) -> Floats:
        """Returns the calibrated score.

        Raises:
            NotApplicable: A target has no shadow trained without any of the points.
        """
        statistic = _minus_loss if self.statistic == "loss" else _confidence
        observed, shadows = of_targets_and_shadows(view, statistic)
        return observed - out_means(shadows, view.members)


def _minus_loss(outputs: Floats, labels: Ints) -> Floats:
    return -cross_entropy(outputs, labels)


def _confidence(outputs: Floats, labels: Ints) -> Floats:
    return np.exp(-cross_entropy(outputs, labels))
