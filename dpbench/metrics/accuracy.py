"""Accuracy on the test set, with an interval for new models and new test examples."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from dpbench.metrics.intervals import TAIL, Interval


def accuracy_interval(correct: NDArray[np.bool_]) -> Interval:
    """Returns the mean accuracy of M models on n examples with its 95 % interval.

    Models and examples are crossed, and the variance of the mean is at most
    var(models' means) / M + var(examples' means) / n. With one model it covers new examples alone.

    Args:
        correct: `(M, n)` whether model m is right on example i.
    """
    models, examples = correct.shape
    value = float(correct.mean())
    variance = _variance(correct.mean(axis=1)) + _variance(correct.mean(axis=0))
    units = min(models, examples) if models > 1 else examples
    half = float(stdtrit(max(1, units - 1), 1 - TAIL)) * variance**0.5
    return Interval(value, max(0.0, value - half), min(1.0, value + half))


def _variance(means: NDArray[np.floating]) -> float:
    """Returns the variance of the mean of independent values; 0 for a single one."""
    return float(means.var(ddof=1) / means.size) if means.size > 1 else 0.0
