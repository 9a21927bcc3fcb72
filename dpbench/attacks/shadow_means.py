"""Averages over shadow models: of both sides, and of the models trained without the point."""

import numpy as np

from dpbench.attacks.base import Bools, Floats, NotApplicable
from dpbench.attacks.leave_one_out import leave_one_out


def balanced_means(values: Floats, members: Bools) -> Floats:
    """Returns `(M, n)` half the IN mean plus half the OUT mean, leave-one-out.

    This is the average over shadows that hold the point with chance 1/2, without the noise of how
    many shadows happen to hold it. Where one side is empty the other stands for both.

    Args:
        values: `(M, n)` one statistic of the shadows; row t is left out for target t.
        members: `(M, n)` their bits; likewise.

    Raises:
        NotApplicable: There is only one model, hence no shadow.
    """
    if len(members) < 2:
        raise NotApplicable("there is only one model, hence no shadow")
    inside, outside = leave_one_out(values, members), leave_one_out(values, ~members)
    sides = (inside.models > 0) * 1.0 + (outside.models > 0)
    balanced: Floats = (inside.mean + outside.mean) / sides
    return balanced


def out_means(values: Floats, members: Bools) -> Floats:
    """Returns `(M, n)` the mean over shadows trained without the point, leave-one-out.

    A point without such a shadow takes the average of the points that have one: an offline
    adversary never sees the IN side.

    Args:
        values: `(M, n)` one statistic of the shadows; row t is left out for target t.
        members: `(M, n)` their bits; likewise.

    Raises:
        NotApplicable: A target has no shadow trained without any of the points.
    """
    outside = leave_one_out(values, ~members)
    has_out = outside.models > 0
    if not has_out.any(1).all():
        raise NotApplicable("a target has no shadow trained without any of the points")
    overall = outside.mean.sum(1, keepdims=True) / has_out.sum(1, keepdims=True)
    return np.where(has_out, outside.mean, overall)
