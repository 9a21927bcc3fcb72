"""The likelihood ratio of one Gaussian per point and side, fitted on shadow models.

Any statistic that is close to Gaussian over models can be calibrated so: LiRA does it with the
logit-scaled confidence (Carlini et al. 2022, Algorithm 1).
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, TypeVar

import numpy as np

from dpbench.arrays import Bools, Floats
from dpbench.attacks.base import NotApplicable
from dpbench.attacks.toolbox.leave_one_out import Moments, leave_one_out, means
from dpbench.attacks.toolbox.point_blocks import Block, blocks, row_sums

_S = TypeVar("_S")

SMALLEST_SHARE = 0.01
"""No deviation is taken to be below this share of the pooled one: models that saturate often agree
exactly in all shadows of an example."""
SMALLEST_DEVIATION = 1e-6
"""The floor if no example varies at all."""

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
    # Two passes over the points: the pooled variance and the gap need all of them.
    sides = _cached(lambda block: _sides(shadows, members, block))
    squares_in, squares_out, degrees_in, degrees_out, gaps, both = row_sums(
        shadows.shape, lambda block: _sums_of_both(*sides(block))
    )[..., None]
    # One floor for both sides: an example that varies on neither side must carry no evidence.
    floor = _floor([squares_in, squares_out], [degrees_in, degrees_out])
    gap = gaps / np.maximum(both, 1)
    ratio = np.empty(observed.shape)
    for first, stop in blocks(shadows.shape):
        inside, outside = sides((first, stop))
        mean_in, mean_out = means(inside, outside, gap)
        sd_in = _deviation(inside, variance, squares_in, degrees_in, floor)
        sd_out = _deviation(outside, variance, squares_out, degrees_out, floor)
        value = observed[:, first:stop]
        z_in, z_out = (value - mean_in) / sd_in, (value - mean_out) / sd_out
        ratio[:, first:stop] = (z_out * z_out - z_in * z_in) / 2 + np.log(sd_out / sd_in)
    return ratio


def one_sided(observed: Floats, shadows: Floats, members: Bools, *, variance: Variance) -> Floats:
    """Returns `(observed - mu_out) / sd_out`, `(M, n)`: the same from the OUT shadows alone.

    Arguments and errors are those of `likelihood_ratio`.
    """
    side = _cached(lambda block: leave_one_out(*_part(shadows, ~members, block)))
    squares, degrees, total, known = row_sums(
        shadows.shape, lambda block: _sums_of_one(side(block))
    )[..., None]
    floor = _floor([squares], [degrees])
    # An example without OUT shadows takes the mean of all; the IN side must not be used offline.
    overall = total / known
    score = np.empty(observed.shape)
    for first, stop in blocks(shadows.shape):
        outside = side((first, stop))
        deviation = _deviation(outside, variance, squares, degrees, floor)
        mean = np.where(outside.models > 0, outside.mean, overall)
        score[:, first:stop] = (observed[:, first:stop] - mean) / deviation
    return score


def _cached(side: Callable[[Block], _S]) -> Callable[[Block], _S]:
    """Returns the function; where all points are one block, it is worked out once."""
    return lru_cache(maxsize=1)(side)


def _part(values: Floats, include: Bools, block: Block) -> tuple[Floats, Bools]:
    first, stop = block
    return values[:, first:stop], include[:, first:stop]


def _sides(shadows: Floats, members: Bools, block: Block) -> tuple[Moments, Moments]:
    values, bits = _part(shadows, members, block)
    return leave_one_out(values, bits), leave_one_out(values, ~bits)


def _sums_of_both(inside: Moments, outside: Moments) -> Floats:
    """Returns `(6, M, b)` the terms of a block's points in the sums over all points."""
    has_both = (inside.models > 0) & (outside.models > 0)
    gaps = np.where(has_both, inside.mean - outside.mean, 0.0)
    degrees = [np.maximum(side.models - 1, 0) for side in (inside, outside)]
    return np.stack([inside.squares, outside.squares, *degrees, gaps, has_both])


def _sums_of_one(side: Moments) -> Floats:
    """Returns `(4, M, b)` the same of one side, whose means are added up."""
    degrees = np.maximum(side.models - 1, 0)
    return np.stack([side.squares, degrees, side.mean, side.models > 0])


def _deviation(
    side: Moments, variance: Variance, squares: Floats, degrees: Floats, floor: Floats
) -> Floats:
    """Returns the standard deviation, `(M, b)` or `(M, 1)`, given the sums over all points."""
    pooled: Floats = squares / np.maximum(degrees, 1)
    if variance == "per_example":
        pooled = np.where(side.models >= 2, side.variance(), pooled)
    return np.maximum(np.sqrt(pooled), floor)


def _floor(squares: list[Floats], degrees: list[Floats]) -> Floats:
    """Returns `(M, 1)` the smallest deviation that is believed."""
    if min(side.min() for side in degrees) < 1:
        raise NotApplicable(
            "a likelihood ratio needs two shadow models with, and two without, the same example"
        )
    share = SMALLEST_SHARE * np.sqrt(sum(squares) / sum(degrees))
    floor: Floats = np.maximum(share, SMALLEST_DEVIATION)
    return floor
