"""Bounds from a whole trade-off curve: the tightest ones, because they use the mechanism itself.

A curve gives the largest TPR that any attack reaches at each FPR. It must be increasing and concave
on [0, 1], as all trade-off curves are; without that the maxima and areas below are not bounds.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import expit

from dpbench.arrays import Floats
from dpbench.privacy.accounting.ranges import in_range
from dpbench.privacy.bounds.bounds import precision

Curve = Callable[[ArrayLike], Floats]

# Each zoom into the two cells beside the best of 65 points gains a factor of 32: 24 of them reach
# 1e-36, so an optimum near FPR 0 is found, too.
_GRID, _ZOOMS = 65, 24
# Cells of about 1 % relative width towards both ends of [0, 1], where curves bend most.
_EDGES = np.concatenate([[0.0], expit(np.linspace(-25, 25, 4001)), [1.0]])


def tpr_curve(fpr: ArrayLike, curve: Curve) -> Floats:
    """B8: TPR at an FPR. Dong et al. 2022."""
    return np.minimum(curve(in_range("fpr", fpr)), 1.0)


def advantage_curve(curve: Curve) -> float:
    """B7: the largest TPR - FPR, which is the total variation distance, or delta at epsilon 0."""
    return _peak(curve, 1.0)


def advantage_at_fpr_curve(fpr: ArrayLike, curve: Curve) -> Floats:
    """B12 with B8's TPR: TPR - FPR at an FPR."""
    return tpr_curve(fpr, curve) - in_range("fpr", fpr)


def accuracy_curve(curve: Curve, prior: float = 0.5) -> float:
    """B9 with B8's TPR: the largest prior TPR + (1 - prior) (1 - FPR).

    (1 + B7) / 2 at even odds; max(prior, 1 - prior) for a mechanism that reveals nothing.
    """
    # prior TPR + (1 - prior) (1 - FPR) = 1 - prior + prior (TPR - FPR (1 - prior) / prior).
    share = float(in_range("prior", prior))
    return min(1.0, 1 - share + share * _peak(curve, (1 - share) / share))


def precision_curve(fpr: ArrayLike, curve: Curve, *, odds: ArrayLike = 1.0) -> Floats:
    """B12 with B8's TPR: precision at the attack's own FPR, with `odds` non-members per member."""
    return precision(tpr_curve(fpr, curve), fpr, odds=odds)


def auc_curve(curve: Curve) -> float:
    """B13 with B8's TPR: the area under the curve.

    Never too small: the midpoint rule does not fall short of the integral of a concave function.
    Too large by less than 1e-5.
    """
    middle = (_EDGES[1:] + _EDGES[:-1]) / 2
    return min(1.0, float(np.diff(_EDGES) @ tpr_curve(middle, curve)))


def _peak(curve: Curve, price: float) -> float:
    """Returns the largest TPR - price FPR, which on a concave curve is near the best grid point."""
    low, high = 0.0, 1.0
    for _ in range(_ZOOMS):
        fpr = np.linspace(low, high, _GRID)
        gain = tpr_curve(fpr, curve) - price * fpr
        best = int(np.argmax(gain))
        low, high = float(fpr[max(best - 1, 0)]), float(fpr[min(best + 1, _GRID - 1)])
    return float(gain[best])
