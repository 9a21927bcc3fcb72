"""Attack classifiers: logistic regression from released score vectors to membership bits."""

from collections.abc import Callable

import numpy as np
from scipy.special import expit

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import NotApplicable
from dpbench.attacks.toolbox.cross_fitting import halves

SMALLEST_SCORE = 1e-6
"""Added to scores before the logarithm: one tiny score must not outweigh all others."""
RIDGE = 1.0
MOST_STEPS = 50


def membership_log_odds(
    observed: Floats,
    shadows: Floats,
    members: Bools,
    *,
    groups: Ints,
    features: Callable[[Floats], Floats] | None = None,
) -> Floats:
    """Returns `(M, n)` the log odds of membership from classifiers trained on shadows.

    There is one classifier for each group of points and each half of the models: a target is
    scored by the half it is not in. It is a ridge logistic regression on features standardised on
    the shadows: by default on `log p_k` and `p_k log p_k` of every released score p_k. All (model,
    point) pairs of the shadows are used.

    Args:
        observed: `(M, n, k)` scores of the targets, or other values of each point.
        shadows: `(M, n, k)` the same of the shadows.
        members: `(M, n)` the shadows' bits.
        groups: `(n,)` the group of each point.
        features: Returns features `(N, d)` of such values `(a, b, k)`, with N = a b.

    Raises:
        NotApplicable: There is only one model, hence no shadow.
    """
    if len(members) < 2:
        raise NotApplicable("there is only one model, hence no shadow")
    of = features or score_features
    log_odds = np.empty(members.shape)
    for scored, taught_by in halves(len(members)):
        for group in np.unique(groups):
            points = np.flatnonzero(groups == group)
            known, asked = np.ix_(taught_by, points), np.ix_(scored, points)
            lessons = of(shadows[known])
            center, spread = lessons.mean(0), lessons.std(0)
            spread[spread == 0] = 1.0
            weights = fit_logistic((lessons - center) / spread, members[known].ravel())
            standardised = (of(observed[asked]) - center) / spread
            log_odds[asked] = (_with_constant(standardised) @ weights).reshape(
                len(scored), len(points)
            )
    return log_odds


def fit_logistic(features: Floats, bits: Bools) -> Floats:
    """Returns the weights `(d + 1,)`, constant first, of a ridge logistic regression.

    Newton's method from zero; a step that does not lower the penalised log-loss is halved.

    Args:
        features: `(N, d)`.
        bits: `(N,)`.
    """
    design = _with_constant(features)
    weights = np.zeros(design.shape[1])
    loss = _penalised_loss(design, bits, weights)
    for _ in range(MOST_STEPS):
        chances = expit(design @ weights)
        gradient = design.T @ (chances - bits) + RIDGE * weights
        curvature = (design * (chances * (1 - chances))[:, None]).T @ design
        curvature[np.diag_indices_from(curvature)] += RIDGE
        step = np.linalg.solve(curvature, gradient)
        while (reached := _penalised_loss(design, bits, weights - step)) > loss:
            step /= 2
            # No step lowers the loss any more: it is minimal up to rounding.
            if np.abs(step).max() < 1e-12:
                return weights
        weights, loss = weights - step, reached
        if np.abs(step).max() < 1e-9:
            break
    return weights


def _penalised_loss(design: Floats, bits: Bools, weights: Floats) -> float:
    logits = design @ weights
    log_loss = np.logaddexp(0, np.where(bits, -logits, logits)).sum()
    return float(log_loss + RIDGE / 2 * weights @ weights)


def score_features(scores: Floats) -> Floats:
    """Returns `(N, 2 k)` float64 features of scores `(..., k)`."""
    flat = scores.reshape(-1, scores.shape[-1]).astype(np.float64)
    logs = np.log(flat + SMALLEST_SCORE)
    return np.concatenate([logs, flat * logs], axis=1)


def as_they_are(values: Floats) -> Floats:
    """Returns values `(..., k)` themselves as features `(N, k)` float64."""
    return values.reshape(-1, values.shape[-1]).astype(np.float64)


def _with_constant(features: Floats) -> Floats:
    return np.concatenate([np.ones((len(features), 1)), features], axis=1)
