"""A lower bound on epsilon with the model as the independent unit."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from dpbench.metrics.roc import Bools, Counts, Floats, Roc, allowed
from dpbench.metrics.thresholds import best_threshold
from dpbench.privacy.audit import clopper_pearson_upper, epsilon_from_rates

_TAIL = 0.025
_RATES = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)
# Below this many expected errors in a model, the spread of its rate says little.
_ERRORS = 5


def epsilon_lower(
    scores: Floats,
    members: Bools,
    *,
    models: NDArray[np.int64],
    curves: tuple[Roc, Roc],
    selection: tuple[Floats, Bools],
    delta: float = 0.0,
) -> float:
    """Returns a 95 % lower confidence bound on epsilon.

    The threshold is the one with the largest bound on the even models of `selection`, among few
    that are fixed beforehand (its best cut, and where the FPR or the FNR is 0.3, 0.1, ... 0.001).
    The bound is that of `epsilon_from_rates` on the odd models of `scores`, whose rates are limited
    at 97.5 % each, each model being one independent observation. If only even models are given, the
    folds change roles.

    It bounds the epsilon at `delta` for the average example of this pool. Student's limits need
    many models rather than few. Where k models make no error at all, no more than log(k / 3.7) is
    claimed.

    Args:
        scores: `(len(models), n)` scores of the reported models.
        members: Their bits.
        models: Their numbers; model m is in fold m % 2.
        curves: ROC curves of fold 0 and fold 1 of `selection`.
        selection: Scores and bits `(M, n)` on which thresholds may be chosen.
        delta: The delta at which epsilon is bounded.
    """
    fold = 1 if np.any(models % 2 == 1) else 0
    tried, bits = selection[0][1 - fold :: 2], selection[1][1 - fold :: 2]
    candidates = _candidates(curves[1 - fold], models=tried.shape[0])
    estimates = [_bound(tried >= threshold, bits, delta) for threshold in candidates]
    threshold = candidates[int(np.argmax(estimates))]
    held_out = models % 2 == fold
    return _bound(scores[held_out] >= threshold, members[held_out], delta)


def rate_upper(errors: Counts, trials: Counts) -> float:
    """Returns a 97.5 % upper limit of the error rate of models like these.

    The largest of three: Student's limit of the ratio of sums, each model one observation; the
    exact binomial limit of the pooled counts; and, for errors that only few models make, the exact
    limit of the share of such models times their mean rate (times 1 where no model errs, the rule
    of three).

    Args:
        errors: `(m,)` errors of each model.
        trials: `(m,)` decisions of each model.
    """
    count = errors.size
    if count < 2 or trials.sum() == 0:
        return 1.0
    rate = errors.sum() / trials.sum()
    residuals = (errors - rate * trials) / trials.mean()
    spread = np.sqrt(np.sum(residuals**2) / (count - 1) / count)
    student = rate + stdtrit(count - 1, 1 - _TAIL) * spread
    pooled = clopper_pearson_upper(errors.sum(), trials.sum(), _TAIL)
    erring = int(np.count_nonzero(errors))
    size = rate * count / erring if erring else 1.0
    rare = clopper_pearson_upper(erring, count, _TAIL) * size
    return float(min(1.0, max(student, pooled, rare)))


def _candidates(curve: Roc, *, models: int) -> list[float]:
    """Returns the thresholds to try, each a rank among members or among non-members."""
    missed = curve.positives - curve.tp
    thresholds = [best_threshold(curve)]
    for rate in _RATES:
        if rate * curve.negatives >= _ERRORS * models:
            vertex = int(np.searchsorted(curve.fp, allowed(curve, rate), side="right")) - 1
            thresholds.append(float(curve.thresholds[max(1, vertex)]))
        if rate * curve.positives >= _ERRORS * models:
            vertex = int(np.argmax(missed <= rate * curve.positives))
            thresholds.append(float(curve.thresholds[vertex]))
    return thresholds


def _bound(decisions: Bools, members: Bools, delta: float) -> float:
    found = np.count_nonzero(decisions & members, axis=1)
    positives = np.count_nonzero(members, axis=1)
    wrong = np.count_nonzero(decisions, axis=1) - found
    return epsilon_from_rates(
        fpr_upper=rate_upper(wrong, members.shape[1] - positives),
        fnr_upper=rate_upper(positives - found, positives),
        delta=delta,
    )
