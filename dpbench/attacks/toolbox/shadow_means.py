"""Averages over shadow models: of both sides, and of the models trained without the point."""

import numpy as np

from dpbench.arrays import Bools, Floats
from dpbench.attacks.base import NotApplicable
from dpbench.attacks.toolbox.leave_one_out import leave_one_out
from dpbench.attacks.toolbox.point_blocks import blocks


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
    balanced = np.empty(values.shape)
    for first, stop in blocks(values.shape):
        some, bits = values[:, first:stop], members[:, first:stop]
        inside, outside = leave_one_out(some, bits), leave_one_out(some, ~bits)
        # A side without models has mean 0, and is not counted.
        sides = (inside.models > 0) * 1.0 + (outside.models > 0)
        balanced[:, first:stop] = (inside.mean + outside.mean) / sides
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
    means, has_out = np.empty(values.shape), np.empty(values.shape, dtype=bool)
    for first, stop in blocks(values.shape):
        outside = leave_one_out(values[:, first:stop], ~members[:, first:stop])
        means[:, first:stop], has_out[:, first:stop] = outside.mean, outside.models > 0
    if not has_out.any(1).all():
        raise NotApplicable("a target has no shadow trained without any of the points")
    # Means are 0 where there is no OUT shadow, so they add nothing here.
    overall = means.sum(1, keepdims=True) / has_out.sum(1, keepdims=True)
    np.copyto(means, overall, where=~has_out)
    return means


def means_of_all(values: Floats) -> Floats:
    """Returns `(M, n)` the mean over all shadows, leave-one-out."""
    means = np.empty(values.shape)
    for first, stop in blocks(values.shape):
        some = values[:, first:stop]
        means[:, first:stop] = leave_one_out(some, np.ones(some.shape, bool)).mean
    return means
