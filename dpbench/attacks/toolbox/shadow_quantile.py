"""Where a target's statistic stands among those of the shadows trained without the point."""

import numpy as np

from dpbench.arrays import Bools, Floats
from dpbench.attacks.base import NotApplicable
from dpbench.attacks.toolbox.leave_one_out import leave_one_out

SMALLEST_WIDTH = 1e-6
FARTHEST = 700.0
"""In widths: beyond it the exponential overflows, and targets tie."""


def share_below(observed: Floats, shadows: Floats, members: Bools) -> Floats:
    """Returns `(M, n)` the share of OUT shadows below the target, a tie counting half.

    It is leave-one-out, and 1/2 for a point without OUT shadows.

    Args:
        observed: `(M, n)` the targets' statistic.
        shadows: `(M, n)` the shadows' statistic; row t is left out for target t.
        members: `(M, n)` the shadows' bits; likewise.

    Raises:
        NotApplicable: There is only one model, hence no shadow.
    """
    _require_shadows(members)
    outside = ~members
    # Twice the count, in integers: no rounding may carry a trace of the row that is left out.
    twice = np.zeros(members.shape, np.int64)
    for shadow, (values, out) in enumerate(zip(shadows, outside, strict=True)):
        below = (observed > values).astype(np.int8) + (observed >= values)
        below[:, ~out] = 0
        below[shadow] = 0
        twice += below
    count = outside.sum(0) - outside
    return np.where(count > 0, twice / np.maximum(2 * count, 1), 0.5)


def smooth_log_odds(observed: Floats, shadows: Floats, members: Bools) -> Floats:
    """Returns `(M, n)` the log odds of that share, every shadow smoothed to a logistic density.

    The deviation of each density follows Silverman's rule, from the OUT deviation within examples
    and the expected number of OUT shadows (the true one must not enter a score). Beyond the last
    shadow the log odds grow linearly: they do not saturate. They are 0 for a point without OUT
    shadows. The arguments are those of `share_below`.

    Raises:
        NotApplicable: There is only one model, hence no shadow.
    """
    _require_shadows(members)
    models = len(members)
    deviation = np.sqrt(leave_one_out(shadows, ~members).pooled_variance())
    silverman = (4 / (3 * (models - 1) / 2)) ** 0.2
    # A logistic density of width w has a deviation of w pi / sqrt(3).
    width = np.maximum(deviation * silverman * np.sqrt(3) / np.pi, SMALLEST_WIDTH)
    # Both tails are added up: 1 minus a share near 1 would lose the digits of the other tail.
    below, above = np.zeros((2, *members.shape))
    for shadow, values in enumerate(shadows):
        out = np.flatnonzero(~members[shadow])
        odds = (observed[:, out] - values[out]) / width
        odds = np.exp(np.clip(odds, -FARTHEST, FARTHEST, out=odds), out=odds)
        share = 1 / (1 + odds)
        share[shadow] = 0.0
        above[:, out] += share
        below[:, out] += share * odds
    known = below > 0
    log_odds = np.zeros(members.shape)
    log_odds[known] = np.log(below[known]) - np.log(above[known])
    return log_odds


def _require_shadows(members: Bools) -> None:
    if len(members) < 2:
        raise NotApplicable("there is only one model, hence no shadow")
