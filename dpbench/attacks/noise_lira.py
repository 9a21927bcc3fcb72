"""Noise LiRA: a likelihood ratio of how much noise each point's label survives."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import View
from dpbench.attacks.correctness import (
    CalibratedLabelAttack,
    correctness_ratio,
    right_targets_and_shadows,
)
from dpbench.attacks.noise_robustness import perturbed
from dpbench.attacks.toolbox.likelihood_ratio import Variance, likelihood_ratio
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class NoiseLira(CalibratedLabelAttack):
    """`noise_robustness`, calibrated for each point by shadows that see the same copies.

    One threshold for all points mistakes easy points for members. So the test of LiRA (Carlini et
    al. 2022, Algorithm 1; Watson et al. 2022 argue for calibrating any score) replaces it. Of K
    copies, k keep the true label; the score is the Gaussian log-likelihood ratio of
    `log((k + 1/2) / (K - k + 1/2))` plus `label_lira`'s ratio of the clean point's answer, as if
    the two were independent. Unlike Choquette-Choo et al. 2021, a misclassified point is not set to
    0: compared with the shadows' copies, its copies say as much as those of other points. It
    assumes shadows trained like the target, and copies enough for a count to be near Gaussian.

    Attributes:
        copies: Noisy copies of each point, the same for all models, shadows included.
        scale, flip_probability: As in `noise_robustness`.
        variance: `pooled` over examples, separately for IN and OUT, or `per_example`: most points
            keep every copy under most shadows, and a variance of their own is then often 0.
    """

    copies: Annotated[int, Field(ge=1)] = 16
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    flip_probability: Annotated[float, Field(gt=0, lt=1)] | None = None
    variance: Variance = "pooled"

    @property
    def budget(self) -> int:
        """The clean point and its copies."""
        return self.copies + 1

    def score(self, view: View) -> Floats:
        """Returns the log-likelihood ratio.

        Raises:
            NotApplicable: There are too few shadows to estimate any variance.
        """
        clean = right_targets_and_shadows(view)
        kept, by_shadows = np.zeros((2, *view.members.shape))
        for _ in range(self.copies):
            # Drawn once for targets and shadows: some copies of a point are harder than others.
            copies = perturbed(view, scale=self.scale, flip_probability=self.flip_probability)
            observed, shadows = right_targets_and_shadows(view, copies)
            kept += observed
            by_shadows += shadows
        noisy = likelihood_ratio(
            self._log_odds(kept),
            self._log_odds(by_shadows),
            view.members,
            variance=self.variance,
        )
        return noisy + correctness_ratio(*clean, view.members)

    def _log_odds(self, kept: Floats) -> Floats:
        # The half keeps all and none finite; the log odds of counts are closer to Gaussian.
        log_odds: Floats = np.log((kept + 0.5) / (self.copies - kept + 0.5))
        return log_odds
