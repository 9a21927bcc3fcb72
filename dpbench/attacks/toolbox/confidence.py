"""Measures the confidence of released scores in the true class, even where it rounds to 1.

The statistics use the true class's score and the *others*, never `1 - p_y`: scores that round to 1
stay apart, and scores that do not sum to 1 (rounded, truncated) need no repair.
"""

from collections.abc import Callable

import numpy as np

from dpbench.arrays import Floats, Ints
from dpbench.attacks.base import View

SMALLEST = 1e-45
"""Added to both scores so that a released 0 stays finite (Carlini et al. 2022, official code)."""

Statistic = Callable[[Floats, Ints], Floats]


def logit(outputs: Floats, labels: Ints) -> Floats:
    """Returns phi = log p_y - log sum_{k != y} p_k (the logit scaling of Carlini et al. 2022).

    Args:
        outputs: `(M, n, C)` released scores, non-negative.
        labels: `(n,)` true labels.

    Returns:
        `(M, n)` float64, within +-103.6 for scores up to 1.
    """
    own, others = _own_and_others(outputs, labels)
    phi: Floats = np.log(own + SMALLEST) - np.log(others + SMALLEST)
    return phi


def hinge(outputs: Floats, labels: Ints) -> Floats:
    """Returns log p_y - log max_{k != y} p_k, the margin of the logits (Carlini et al. 2022).

    Args:
        outputs: `(M, n, C)` released scores, non-negative.
        labels: `(n,)` true labels.

    Returns:
        `(M, n)` float64, within +-103.6 for scores up to 1.
    """
    rows, margins = np.arange(len(labels)), np.empty(outputs.shape[:2])
    for model, released in enumerate(outputs):
        scores = released.astype(np.float64)
        own = scores[rows, labels]
        # Scores are not negative, so a 0 takes the true class out of the maximum.
        scores[rows, labels] = 0.0
        margins[model] = np.log(own + SMALLEST) - np.log(scores.max(1) + SMALLEST)
    return margins


def cross_entropy(outputs: Floats, labels: Ints) -> Floats:
    """Returns -log p_y as `log(1 + sum_{k != y} p_k / p_y)`.

    Args:
        outputs: `(M, n, C)` released scores, non-negative.
        labels: `(n,)` true labels.

    Returns:
        `(M, n)` float64 losses between 0 and 103.6.
    """
    own, others = _own_and_others(outputs, labels)
    losses: Floats = np.log1p((others + SMALLEST) / (own + SMALLEST))
    return losses


def of_targets_and_shadows(
    view: View, statistic: Statistic, inputs: Floats | None = None
) -> tuple[Floats, Floats]:
    """Returns a statistic `(M, n)` of the targets and of the shadows, one query to each.

    An adaptive attack's shadows are the targets themselves, and are queried once.
    """

    def of(released: Floats) -> Floats:
        return statistic(released, view.labels)

    observed = view.target.statistic(of, inputs)
    if view.shadows is view.target:
        return observed, observed
    return observed, view.shadows.statistic(of, inputs)


def _own_and_others(outputs: Floats, labels: Ints) -> tuple[Floats, Floats]:
    rows = np.arange(len(labels))
    own, others = np.empty(outputs.shape[:2]), np.empty(outputs.shape[:2])
    # The others are added up without the true class: 1 - p_y would be 0 wherever p_y rounds to 1. A
    # product sums rows this short about ten times as fast as sum(1). One model at a time, since
    # copies of all in double precision would be twice as large as the release.
    every_class = np.ones(outputs.shape[2])
    for model, released in enumerate(outputs):
        scores = released.astype(np.float64)
        own[model] = scores[rows, labels]
        scores[rows, labels] = 0.0
        others[model] = scores @ every_class
    return own, others
