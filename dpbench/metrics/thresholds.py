"""Thresholds chosen on models other than those they are applied to."""

import numpy as np
from numpy.typing import NDArray

from dpbench.metrics.roc import Bools, Floats, Roc, roc


def best_threshold(curve: Roc) -> float:
    """Returns the threshold with the largest TPR - FPR; the highest one where several tie.

    "Nobody" and "everybody" are no decisions and are never chosen, so that a binary score is always
    cut between its two values, even where that loses. A constant score leaves only "everybody".
    """
    # In integers, so that ties are ties.
    gain = curve.tp[1:] * curve.negatives - curve.fp[1:] * curve.positives
    return float(curve.thresholds[1 + np.argmax(gain[: max(1, gain.size - 1)])])


def fold_curves(scores: Floats, members: Bools) -> tuple[Roc, Roc]:
    """Returns the ROC curves of the even and of the odd models of `(M, n)` scores."""
    return roc(scores[0::2], members[0::2]), roc(scores[1::2], members[1::2])


def decide(scores: Floats, models: NDArray[np.int64], curves: tuple[Roc, Roc]) -> Bools:
    """Returns decisions `(len(models), n)`, each model's by the best threshold of the other fold.

    Args:
        scores: `(len(models), n)` scores of the decided models.
        models: Their numbers; model m is in fold m % 2.
        curves: ROC curves of fold 0 and fold 1.
    """
    other = np.array([best_threshold(curves[1]), best_threshold(curves[0])])
    decisions: Bools = scores >= other[models % 2][:, None]
    return decisions


def transferred_advantage(
    scores: Floats, members: Bools, *, source: Floats, models: NDArray[np.int64]
) -> float:
    """Returns TPR - FPR of some models, at thresholds best on the other fold of the source.

    Args:
        scores: `(M, n)` scores.
        members: `(M, n)` bits, of the source's models too.
        source: `(M, n)` scores on which the thresholds are chosen.
        models: Numbers of the models that count.
    """
    decisions, bits = decide(scores[models], models, fold_curves(source, members)), members[models]
    return float(decisions[bits].mean() - decisions[~bits].mean())
