"""Accuracy on the test set, with an interval for new models of the pool and new test examples."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from dpbench.metrics.intervals import TAIL, Interval


def accuracy_interval(correct: NDArray[np.bool_]) -> Interval:
    """Returns the mean accuracy of M models on n examples with its 95 % interval.

    Models and examples are crossed, and the variance of the mean is at most
    var(models' means) / M + var(examples' means) / n. With one model it covers new examples alone.
    The models are trained on halves of one pool, and the interval holds for that pool: models of
    another pool have another mean accuracy, which it covers less often.

    Args:
        correct: `(M, n)` whether model m is right on example i.
    """
    models, examples = correct.shape
    value = np.count_nonzero(correct) / correct.size
    variance = _variance(correct, axis=1) + _variance(correct, axis=0)
    units = min(models, examples) if models > 1 else examples
    half = float(stdtrit(max(1, units - 1), 1 - TAIL)) * variance**0.5
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def _variance(correct: NDArray[np.bool_], axis: int) -> float:
    """Returns the variance of the mean of independent rows or columns; 0 for a single one."""
    means = np.add.reduce(correct, axis=axis, dtype=np.float64) / correct.shape[axis]
    if means.size == 1:
        return 0.0
    means -= np.add.reduce(means) / means.size
    return float(np.add.reduce(means * means) / (means.size - 1) / means.size)
