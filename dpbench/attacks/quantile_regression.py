"""Quantile regression: how confident a non-member like this one would be, from public points."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.confidence import logit
from dpbench.attacks.toolbox.pinball import conditional_quantile
from dpbench.attacks.toolbox.radial import radial_features
from dpbench.attacks.toolbox.ridge import Ridge
from dpbench.component import register

FEWEST_POINTS = 20
"""Public points without which a regression means nothing."""
SMALLEST_SHARE = 1e-6
"""No squared residual is taken to be below this share of the mean one: its logarithm is fitted."""
SMALLEST_DEVIATION = 1e-6
"""The floor of the residuals where all of them are 0."""


@register
@dataclass(frozen=True, kw_only=True)
class QuantileRegression(Attack):
    """Membership by the confidence above a predicted quantile of non-members like the point.

    Bertran et al. 2023: regress a high quantile of the target's confidence phi on the *public*
    points, given the point itself; no shadow is trained. Here phi is the logit-scaled confidence,
    and the regressor is a ridge regression on radial features of the input and the label (see
    `radial`) in place of a deep network or boosted trees: its decomposition is shared, so all
    targets are fitted at once. Its penalty is chosen by cross-validation on the public points.

    It assumes that the input shows how hard a point is. Difficulty that the regressor cannot
    predict is mistaken for membership: a random label, or a shift between public and challenge
    points.

    Attributes:
        head: `gaussian` predicts mean and log deviation, and the score is `(phi - mu(x)) /
            sigma(x)`, whose threshold `Phi^-1(1 - alpha)` is every quantile test at once.
            `pinball` predicts the one quantile at `1 - alpha` by its pinball loss, without
            assuming a shape; the score is `phi - q(x)`.
        alpha: False-positive rate of the pinball head's quantile.
        centers: Radial features: that many public points, or all if there are fewer.
    """

    access: ClassVar[Access] = Access.SCORE
    reference: ClassVar[str] = (
        "Bertran, Tang, Kearns, Morgenstern, Roth and Wu, Scalable Membership Inference Attacks "
        "via Quantile Regression, NeurIPS 2023"
    )

    head: Literal["gaussian", "pinball"] = "gaussian"
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    centers: Annotated[int, Field(ge=1)] = 512

    @property
    def budget(self) -> int:
        """The challenge points, and the public points."""
        return 2

    def score(self, view: View) -> Floats:
        """Returns the z-score (gaussian) or the distance (pinball) of phi above its regression.

        Raises:
            NotApplicable: There are fewer than 20 public points.
        """
        if len(view.reference_labels) < FEWEST_POINTS:
            raise NotApplicable(f"quantile regression needs {FEWEST_POINTS} public points")
        # Points are rows and targets are columns: all targets are responses of one regression.
        observed = logit(view.target.scores(), view.labels).T
        public = logit(view.target.scores(view.reference_inputs), view.reference_labels).T
        at_public, at_challenge = radial_features(view, self.centers)
        ridge = Ridge.of(at_public)
        if self.head == "gaussian":
            mean, deviation = gaussian(ridge, public, at_challenge)
            scores = (observed - mean) / deviation
        else:
            level = 1 - self.alpha
            scores = observed - conditional_quantile(ridge, public, at_challenge, level=level)
        return np.ascontiguousarray(scores.T)


def gaussian(ridge: Ridge, responses: Floats, features: Floats) -> tuple[Floats, Floats]:
    """Returns the mean and the deviation `(n, q)` of the responses expected at some features.

    Both are closed forms: the mean by least squares, then the logarithm of the squared held-out
    residuals by least squares (Harvey 1976), scaled so that standardised residuals have variance 1.
    They are consistent for what the Gaussian likelihood of the paper estimates, not equal to it.

    Args:
        ridge: The decomposed features of the responses.
        responses: `(r, q)`
        features: `(n, p)`
    """
    mean = ridge.fit(responses)
    squares = (responses - mean.held_out) ** 2
    logs = np.log(squares + SMALLEST_SHARE * squares.mean(0) + SMALLEST_DEVIATION**2)
    spread = ridge.fit(logs)
    # Predicted variances are kept within the range of the squared residuals: exp() of a linear
    # prediction for a point far from all public ones could be anything.
    lowest, highest = logs.min(0), logs.max(0)
    held_out = np.clip(spread.held_out, lowest, highest)
    # The mean of a logarithm is not the logarithm of the mean; this factor corrects the difference.
    scale = np.exp(logs - held_out).mean(0)
    predicted = np.clip(ridge.predict(spread, features), lowest, highest)
    return ridge.predict(mean, features), np.sqrt(scale * np.exp(predicted))
