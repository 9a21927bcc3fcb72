"""Thresholds chosen on models other than those they are applied to."""

import numpy as np
from numpy.typing import NDArray

from dpbench.metrics.roc import Bools, Floats, Ranking, Roc, rank, roc_of_ranking


def best_threshold(curve: Roc) -> float:
    """Returns the threshold with the largest TPR - FPR; the highest one where several tie.

    "Nobody" and "everybody" are no decisions and are never chosen, so that a binary score is always
    cut between its two values, even where that loses. A constant score leaves only "everybody".
    """
    # In integers, so that ties are ties.
    gain = np.multiply(curve.tp[1:], curve.negatives, dtype=np.int64)
    gain -= np.multiply(curve.fp[1:], curve.positives, dtype=np.int64)
    return float(curve.thresholds[1 + np.argmax(gain[: max(1, gain.size - 1)])])


def fold_curves(ranking: Ranking, examples: int) -> tuple[Roc, Roc]:
    """Returns the ROC curves of the even and of the odd models of `(M, n)` scores.

    Args:
        ranking: The sorted scores, those of all models together.
        examples: The table's n.
    """
    is_odd = ranking.order // ranking.order.dtype.type(examples) % 2 == 1
    return roc_of_ranking(ranking.pick(~is_odd)), roc_of_ranking(ranking.pick(is_odd))


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
    curves = fold_curves(rank(source, members), source.shape[1])
    decisions, bits = decide(scores[models], models, curves), members[models]
    return float(decisions[bits].mean() - decisions[~bits].mean())
