"""The likelihood ratio of one Gaussian per point and side, fitted on shadow models.

Any statistic that is close to Gaussian over models can be calibrated so: LiRA does it with the
logit-scaled confidence (Carlini et al. 2022, Algorithm 1).
"""

from typing import Literal

import numpy as np

from dpbench.attacks.base import Bools, Floats, NotApplicable
from dpbench.attacks.leave_one_out import Moments, leave_one_out, means

SMALLEST_SHARE = 0.01
"""No deviation is taken to be below this share of the pooled one: models that saturate often agree
exactly in all shadows of an example."""
SMALLEST_DEVIATION = 1e-6

Variance = Literal["per_example", "pooled"]


def likelihood_ratio(
    observed: Floats, shadows: Floats, members: Bools, *, variance: Variance
) -> Floats:
    """Returns `log N(observed; mu_in, sd_in) - log N(observed; mu_out, sd_out)`, `(M, n)`.

    Means and variances are leave-one-out, unbiased and within examples.

    Args:
        observed: `(M, n)` the targets' statistic.
        shadows: `(M, n)` the shadows' statistic; row t is left out for target t.
        members: `(M, n)` the shadows' bits; likewise.
        variance: `per_example`, better with hundreds of shadows; `pooled` over examples, separately
            for IN and OUT, better with fewer than about 64.

    Raises:
        NotApplicable: There are too few shadows to estimate any variance.
    """
    inside, outside = leave_one_out(shadows, members), leave_one_out(shadows, ~members)
    # One floor for both sides: an example that never varies carries no evidence.
    floor = _floor(inside, outside)
    mean_in, mean_out = means(inside, outside)
    sd_in, sd_out = _deviation(inside, variance, floor), _deviation(outside, variance, floor)
    z_in, z_out = (observed - mean_in) / sd_in, (observed - mean_out) / sd_out
    ratio: Floats = (z_out * z_out - z_in * z_in) / 2 + np.log(sd_out / sd_in)
    return ratio


def one_sided(observed: Floats, shadows: Floats, members: Bools, *, variance: Variance) -> Floats:
    """Returns `(observed - mu_out) / sd_out`, `(M, n)`: the same from the OUT shadows alone.

    Arguments and errors are those of `likelihood_ratio`.
    """
    outside = leave_one_out(shadows, ~members)
    deviation = _deviation(outside, variance, _floor(outside))
    # An example without OUT shadows borrows the mean of all, not the IN side it must not see.
    overall = outside.mean.sum(1, keepdims=True) / (outside.models > 0).sum(1, keepdims=True)
    mean = np.where(outside.models > 0, outside.mean, overall)
    score: Floats = (observed - mean) / deviation
    return score


def _deviation(side: Moments, variance: Variance, floor: Floats) -> Floats:
    """Returns the standard deviation, `(M, n)` or `(M, 1)`."""
    pooled = side.pooled_variance()
    if variance == "per_example":
        pooled = np.where(side.models >= 2, side.variance(), pooled)
    return np.maximum(np.sqrt(pooled), floor)


def _floor(*sides: Moments) -> Floats:
    """Returns `(M, 1)` the smallest deviation that is believed."""
    degrees = [side.degrees() for side in sides]
    if min(side.min() for side in degrees) < 1:
        raise NotApplicable(
            "a likelihood ratio needs two shadow models with, and two without, the same example"
        )
    squares = sum(side.squares.sum(1, keepdims=True) for side in sides)
    floor: Floats = np.maximum(SMALLEST_SHARE * np.sqrt(squares / sum(degrees)), SMALLEST_DEVIATION)
    return floor
