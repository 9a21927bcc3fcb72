"""Leave-one-out statistics of the shadows: row t uses neither the value nor the bit of model t.

Subtracting model t from a total would leave its rounding error behind, and with it a trace of its
bit. Each row is instead merged from the models before t and the models after t, so it is *exactly*
independent of row t. Means and squared deviations are updated as in Welford (1962) and merged as in
Chan, Golub and LeVeque (1983): nothing cancels, and values that are all equal have variance 0.
"""

from typing import NamedTuple

import numpy as np

from dpbench.arrays import Bools, Floats


class Moments(NamedTuple):
    """Moments `(M, n)` over the included models other than t, for each target t and example.

    Attributes:
        models: Number of models.
        mean: Their mean; 0 where there is none.
        squares: Their sum of squared deviations from the mean.
    """

    models: Floats
    mean: Floats
    squares: Floats

    def variance(self) -> Floats:
        """Returns the unbiased variance of each example (ddof 1); 0 with fewer than two models."""
        variance: Floats = self.squares / np.maximum(self.models - 1, 1)
        return variance

    def degrees(self) -> Floats:
        """Returns `(M, 1)` the degrees of freedom of the pooled variance."""
        degrees: Floats = np.maximum(self.models - 1, 0).sum(1, keepdims=True)
        return degrees

    def pooled_variance(self) -> Floats:
        """Returns `(M, 1)` the within-example variance pooled over examples; 0 if there is none."""
        variance: Floats = self.squares.sum(1, keepdims=True) / np.maximum(self.degrees(), 1)
        return variance


def leave_one_out(values: Floats, include: Bools) -> Moments:
    """Returns the moments over the models that `include` selects, without the target itself.

    Args:
        values: `(M, n)` one statistic per model and example.
        include: `(M, n)` whether a model counts for an example.
    """
    before = _moments_before(values, include)
    after = Moments(*(rows[::-1] for rows in _moments_before(values[::-1], include[::-1])))
    count = before.models + after.models
    weight = after.models / np.maximum(count, 1)
    gap = after.mean - before.mean
    squares = before.squares + after.squares + gap * gap * before.models * weight
    return Moments(count, before.mean + gap * weight, squares)


def means(inside: Moments, outside: Moments, gap: Floats | None = None) -> tuple[Floats, Floats]:
    """Returns the IN and OUT means `(M, n)`.

    An example with no shadow on one side takes the other side's mean, moved by the average
    distance between the two sides over the examples that have both: `gap`, `(M, 1)`, where the
    moments are those of some examples only.
    """
    has_in, has_out = inside.models > 0, outside.models > 0
    if gap is None:
        both = has_in & has_out
        gaps = np.where(both, inside.mean - outside.mean, 0.0)
        gap = gaps.sum(1, keepdims=True) / np.maximum(both.sum(1, keepdims=True), 1)
    return (
        np.where(has_in, inside.mean, outside.mean + gap),
        np.where(has_out, outside.mean, inside.mean - gap),
    )


def _moments_before(values: Floats, include: Bools) -> Moments:
    """Row t holds the moments over models 0..t-1."""
    rows = Moments(*np.zeros((3, *values.shape)))
    count, mean, squares = np.zeros((3, values.shape[1]))
    for model in range(len(values) - 1):
        new_count = count + include[model]
        # A model that does not count makes a step of exactly 0, so its value leaves no trace.
        step = (values[model] - mean) * include[model]
        mean = mean + step / np.maximum(new_count, 1)
        squares = squares + step * (values[model] - mean)
        count = new_count
        for row, state in zip(rows, (count, mean, squares), strict=True):
            row[model + 1] = state
    return rows
