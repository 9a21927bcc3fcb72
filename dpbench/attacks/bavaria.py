"""BaVarIA: LiRA with a posterior for each point's mean and variance."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
from scipy.special import gammaln

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.confidence import logit, of_targets_and_shadows
from dpbench.attacks.toolbox.leave_one_out import Moments, leave_one_out
from dpbench.component import register

SMALLEST_SHARE = 0.01
"""No side's prior deviation is taken to be below this share of the pooled one of both sides."""
SMALLEST_VARIANCE = 1e-12
"""Keeps densities finite if all shadows release the same scores."""
MOST_DEGREES = 1e6
"""Stands for infinitely many: between examples, variances differ no more than by chance."""


class Predictive(NamedTuple):
    """A Student t for the statistic of one more model: degrees of freedom, location, variance."""

    degrees: Floats
    location: Floats
    variance: Floats

    def log_density(self, observed: Floats) -> Floats:
        """Returns the log-density at `observed`."""
        nu = self.degrees
        squared = np.square(observed - self.location) / (nu * self.variance)
        constant = gammaln((nu + 1) / 2) - gammaln(nu / 2) - np.log(np.pi * nu * self.variance) / 2
        density: Floats = constant - (nu + 1) / 2 * np.log1p(squared)
        return density

    def deviate(self, observed: Floats) -> Floats:
        """Returns the normal deviate with the same tail (Wallace 1959): it never saturates."""
        nu, gap = self.degrees, observed - self.location
        length = np.sqrt(nu * np.log1p(gap * gap / (nu * self.variance)))
        deviate: Floats = np.copysign((8 * nu + 1) / (8 * nu + 3) * length, gap)
        return deviate


@register
@dataclass(frozen=True, kw_only=True)
class Bavaria(Attack):
    """Likelihood ratio of the logit-scaled confidence under a conjugate posterior of its Gaussian.

    Brannvall 2026: LiRA must choose between variances per example, too noisy with few shadows, and
    a pooled one, wrong with many; a normal-inverse-gamma prior moves from one to the other. On each
    side the shadows of a point are `N(mu, sigma^2)`, `mu ~ N(m_0, sigma^2 / kappa_0)` and
    `sigma^2 ~ InvGamma(alpha, beta)`; the point's score is the log ratio of the posterior
    predictives at the target. The prior is fitted to all points by moments (empirical Bayes), which
    may differ from the paper's choice of its constants: beta / (alpha - 1) is the pooled variance,
    alpha matches the spread of the variances between points beyond chance, and kappa_0 that of
    the means. It assumes that phi is close to Gaussian over shadows trained like the target.

    Attributes:
        mode: `online` uses shadows trained with and without the point, `offline` only without: the
            normal deviate of the target in the OUT predictive, one-sided.
        predictive: `student_t` integrates over the posterior; `gaussian` is a normal with the
            posterior mean of mean and variance.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Brannvall, Exponential-Family Membership Inference: From LiRA and RMIA to BaVarIA, "
        "arXiv 2603.11799, 2026"
    )

    mode: Literal["online", "offline"] = "online"
    predictive: Literal["student_t", "gaussian"] = "student_t"

    def score(self, view: View) -> Floats:
        """Returns the log-likelihood ratio (online) or the normal deviate (offline).

        Raises:
            NotApplicable: There are too few shadows to estimate any variance.
        """
        observed, shadows = of_targets_and_shadows(view, logit)
        outside = leave_one_out(shadows, ~view.members)
        if self.mode == "offline":
            return self._posterior(outside, _pooled(outside)).deviate(observed)
        inside = leave_one_out(shadows, view.members)
        pooled = _pooled(inside, outside)
        log_in, log_out = (
            self._posterior(side, pooled).log_density(observed) for side in (inside, outside)
        )
        return log_in - log_out

    def _posterior(self, side: Moments, pooled: Floats) -> Predictive:
        variance = np.maximum(side.pooled_variance(), SMALLEST_SHARE**2 * pooled)
        shape = _shape(side, variance)
        center, strength = _prior_mean(side, variance)
        # The conjugate update: kappa_n, 2 alpha_n, beta_n / alpha_n and the posterior mean of mu.
        # The prior's beta is (alpha - 1) times the pooled variance.
        weight = strength + side.models
        between = np.square(side.mean - center) * strength * side.models / weight
        degrees = 2 * shape + side.models
        scale = (2 * variance * (shape - 1) + side.squares + between) / degrees
        location = (strength * center + side.models * side.mean) / weight
        if self.predictive == "gaussian":
            # The posterior mean of sigma^2, beta_n / (alpha_n - 1); it exists because alpha > 2.
            mean_variance = scale * degrees / (degrees - 2)
            return Predictive(np.full_like(degrees, MOST_DEGREES), location, mean_variance)
        # The uncertainty of mu adds sigma^2 / kappa_n to the variance of a new model.
        return Predictive(degrees, location, scale * (weight + 1) / weight)


def _pooled(*sides: Moments) -> Floats:
    """Returns `(M, 1)` the variance within examples, pooled over sides."""
    degrees = [side.degrees() for side in sides]
    if min(side.min() for side in degrees) < 1:
        raise NotApplicable("BaVarIA needs two shadow models on each side of one example")
    squares = sum(side.squares.sum(1, keepdims=True) for side in sides)
    pooled: Floats = np.maximum(squares / sum(degrees), SMALLEST_VARIANCE)
    return pooled


def _shape(side: Moments, variance: Floats) -> Floats:
    """Returns `(M, 1)` alpha > 2, from how much the variances differ between examples.

    `E[sigma^4] / E[sigma^2]^2 = (alpha - 1) / (alpha - 2)`, and a sample variance with d degrees of
    freedom has `E[s^4] = sigma^4 (1 + 2 / d)`.
    """
    degrees = np.maximum(side.models - 1, 0)
    fourth = np.square(side.variance()) * degrees / (1 + 2 / np.maximum(degrees, 1))
    ratio = fourth.sum(1, keepdims=True) / side.degrees() / np.square(variance)
    shape: Floats = 2 + 1 / np.maximum(ratio - 1, 2 / MOST_DEGREES)
    return shape


def _prior_mean(side: Moments, variance: Floats) -> tuple[Floats, Floats]:
    """Returns `(M, 1)` the mean m_0 of the examples' means, and kappa_0."""
    known = side.models > 0
    count = known.sum(1, keepdims=True)
    center = side.mean.sum(1, keepdims=True) / count
    spread = (np.square(side.mean - center) * known).sum(1, keepdims=True) / count
    # By chance alone, the mean of k models has variance sigma^2 / k.
    chance = (known / np.maximum(side.models, 1)).sum(1, keepdims=True) / count * variance
    # If means differ by chance only, m_0 counts as much as a thousand models.
    return center, variance / np.maximum(spread - chance, variance / 1000)
