"""Combining attacks: one logistic regression on all their scores."""

import numpy as np
from scipy.special import ndtr

from dpbench.arrays import Bools, Floats
from dpbench.attacks.toolbox.shadow_classifier import fit_logistic

LEVELS = np.linspace(-4.5, 4.5, 513)
"""Where quantiles are matched, in standard deviations of a normal: dense in both tails."""


def normal_scores(scores: Floats, among: Floats) -> Floats:
    """Returns scores of any shape as the standard normal quantiles of their ranks among others.

    Scores of different attacks become comparable, and heavy tails light; the order stays, except
    that scores beyond 4.5 deviations tie.

    Args:
        scores: Of any shape.
        among: The scores they are ranked among.
    """
    return at_quantiles(scores, quantiles_of(among))


def quantiles_of(scores: Floats) -> Floats:
    """Returns the quantiles of scores at `LEVELS`: `np.quantile`, whose many cuts cost far more."""
    ranked = np.sort(scores, axis=None)
    place = ndtr(LEVELS) * (ranked.size - 1)
    below = place.astype(np.int64)
    low, high = ranked[below], ranked[np.minimum(below + 1, ranked.size - 1)]
    gap, share = high - low, place - below
    return np.where(share < 0.5, low + gap * share, high - gap * (1 - share))


def at_quantiles(scores: Floats, quantiles: Floats) -> Floats:
    """Returns `normal_scores` among scores whose quantiles are known already."""
    flat, ranked = scores.ravel(), np.empty(scores.shape)
    # In order, so that the search for one score ends where that for the last did.
    order = np.argsort(flat)
    ranked.ravel()[order] = np.interp(flat[order], quantiles, LEVELS)
    return ranked


def combination(scores: Floats, members: Bools) -> Floats:
    """Returns `(k + 1,)` weights, constant first, of a ridge logistic regression of membership.

    Args:
        scores: `(k, m, n)` normal scores of k attacks.
        members: `(m, n)` bits.
    """
    return fit_logistic(scores.reshape(len(scores), -1).T, members.ravel())
