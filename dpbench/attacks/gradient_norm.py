"""Gradient norm: members lie where the loss is flat."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, Oracle, View
from dpbench.attacks.toolbox.confidence import SMALLEST
from dpbench.attacks.toolbox.likelihood_ratio import likelihood_ratio
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class GradientNorm(Attack):
    """Membership by the norm of the point's loss gradient: training drives it to zero on members.

    The statistic is minus the logarithm of the Euclidean norm: norms spread over many orders of
    magnitude, their logarithms are closer to Gaussian. Nasr et al. 2019 feed whole gradients to a
    supervised attack; their norm is the cheap baseline with which Chen, Yu and Fritz 2022 evaluate
    RelaxLoss. The norm is 1 - p_y times how strongly the network reacts to the point, so it says
    little that the confidence does not; but no mask hides it. It assumes that training fits its
    members: the norms of points that are not fitted hardly differ.

    Attributes:
        of: The gradient with respect to the weights, or to the point's input.
        calibration: `per_example`, the likelihood ratio of LiRA with this statistic; `global`, one
            threshold for all points, without shadows. Variances are those of each point alone: the
            norm of a point that is never fitted hardly varies, that of a fitted one by powers of
            ten.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    reference: ClassVar[str] = (
        "Nasr, Shokri and Houmansadr, Comprehensive Privacy Analysis of Deep Learning: Passive and "
        "Active White-box Inference Attacks, IEEE S&P 2019"
    )

    of: Literal["weights", "inputs"] = "weights"
    calibration: Literal["per_example", "global"] = "per_example"

    @property
    def needs_shadows(self) -> bool:
        """Only calibration uses shadows."""
        return self.calibration == "per_example"

    def score(self, view: View) -> Floats:
        """Returns minus the log-norm, or the log-likelihood ratio of it.

        Raises:
            NotApplicable: There are no weights to see, or too few shadows to calibrate with.
        """
        observed = self._statistic(view.target)
        if self.calibration == "global":
            return observed
        shared = view.shadows is view.target
        shadows = observed if shared else self._statistic(view.shadows)
        return likelihood_ratio(observed, shadows, view.members, variance="per_example")

    def _statistic(self, oracle: Oracle) -> Floats:
        # In single precision the gradient of a saturated model is exactly 0.
        norms = oracle.gradient_norms(self.of).astype(np.float64)
        statistic: Floats = -np.log(norms + SMALLEST)
        return statistic
