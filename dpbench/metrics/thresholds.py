"""Thresholds chosen on models other than those they are applied to.

Where attacks calibrate with shadow models, "other models" is not enough: every other model's score
was computed with the target among its shadows, so a threshold that is best for those scores knows
the target's bits. On models that leak nothing, an attack on labels gains 0.005 of advantage by it.
So the scores on which thresholds are chosen (`source`) must come from shadows of one fold only,
even models with even shadows and odd ones with odd shadows; the scores that are decided may use all
other models, since a target's own bits are in none of them.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.metrics.roc import Bools, Floats, Ranking, Roc, roc_of_ranking, vertex_at


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
    is_odd = (ranking.order // ranking.order.dtype.type(examples) & 1).astype(np.bool_)
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


def best_decisions(scores: Floats, curves: tuple[Roc, Roc]) -> Bools:
    """Returns decisions `(M, n)`, each model's by the best threshold of its own fold."""
    own = np.array([best_threshold(curve) for curve in curves])
    decisions: Bools = scores >= own[np.arange(len(scores)) % 2][:, None]
    return decisions


def advantage_of(decisions: Bools, members: Bools) -> float:
    """Returns TPR - FPR of decisions `(m, n)`; there are both members and non-members."""
    positives, negatives = np.count_nonzero(members), np.count_nonzero(~members)
    found, wrong = (np.count_nonzero(decisions & side) for side in (members, ~members))
    return float(found / positives - wrong / negatives)


class Cut(NamedTuple):
    """A threshold and what is done where scores equal it: nothing is left to how ties are sorted.

    Attributes:
        above: Scores of at least this are members.
        at: A score that is next below.
        share: Which part of the scores that equal `at` is called members, at random.
    """

    above: float
    at: float
    share: float


def cut_for_fpr(curve: Roc, fpr: float) -> Cut:
    """Returns the cut with a false positive rate of `fpr` on a curve's own scores.

    Args:
        curve: A curve with at least 1 / fpr non-members.
        fpr: Below 1.
    """
    vertex = vertex_at(curve, fpr)
    left = fpr * curve.negatives - int(curve.fp[vertex])
    following = min(vertex + 1, curve.fp.size - 1)
    wrong = int(curve.fp[following]) - int(curve.fp[vertex])
    # The same chord as in `roc`: of the next scores as large a share is called as is left.
    share = min(max(left / wrong, 0.0), 1.0) if wrong else 0.0
    return Cut(float(curve.thresholds[vertex]), float(curve.thresholds[following]), share)


class Called(NamedTuple):
    """Expected counts of those who are called members: by model, `(m,)`, and by example, `(n,)`."""

    found: tuple[Floats, Floats]
    wrong: tuple[Floats, Floats]


def called(
    scores: Floats, members: Bools, models: NDArray[np.int64], cuts: tuple[Cut, Cut]
) -> Called:
    """Counts who is called a member by the cut of the other fold.

    Args:
        scores: `(m, n)` scores of the decided models.
        members: `(m, n)` their bits.
        models: Their numbers; model k is in fold k % 2.
        cuts: The cuts of fold 0 and of fold 1.
    """
    by_model, by_example = np.zeros((2, len(scores))), np.zeros((2, scores.shape[1]))
    for fold in (0, 1):
        rows = np.flatnonzero(models % 2 == fold)
        cut = cuts[1 - fold]
        own, bits = scores[rows], members[rows]
        for part, weight in ((own >= cut.above, 1.0), (own == cut.at, cut.share)):
            if weight == 0:
                continue
            for side, cells in enumerate((part & bits, part & ~bits)):
                by_model[side, rows] += weight * np.count_nonzero(cells, axis=1)
                by_example[side] += weight * np.count_nonzero(cells, axis=0)
    return Called(*((by_model[side], by_example[side]) for side in (0, 1)))
