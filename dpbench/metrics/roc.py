"""ROC curves from counts: equal scores are one vertex, and nothing is interpolated."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]
Counts = NDArray[np.int64]


class Ranking(NamedTuple):
    """Scores sorted from the highest to the lowest.

    Attributes:
        order: `(N,)` positions in the flattened input.
        scores: `(N,)` scores in that order.
        members: `(N,)` bits in that order.
    """

    order: NDArray[np.int64]
    scores: Floats
    members: Bools

    def pick(self, rows: NDArray[np.int64]) -> "Ranking":
        """Returns the ranking of some of the sorted scores, given by their ranks, ascending."""
        return Ranking(self.order[rows], self.scores[rows], self.members[rows])


class Roc(NamedTuple):
    """The vertices of an ROC curve, from "nobody" to "everybody is a member".

    Attributes:
        thresholds: `(k + 1,)` descending; at vertex j the members are those with a score of at
            least `thresholds[j]`. The first is +inf and stands for nobody.
        tp: `(k + 1,)` members found.
        fp: `(k + 1,)` non-members taken for members.
    """

    thresholds: Floats
    tp: Counts
    fp: Counts

    @property
    def positives(self) -> int:
        """Number of member scores."""
        return int(self.tp[-1])

    @property
    def negatives(self) -> int:
        """Number of non-member scores."""
        return int(self.fp[-1])


def rank(scores: Floats, members: Bools) -> Ranking:
    """Sorts scores of any shape, with their membership bits of the same shape."""
    order = np.argsort(scores, axis=None)[::-1]
    return Ranking(order, scores.ravel()[order], members.ravel()[order])


def roc_of_ranking(ranking: Ranking) -> Roc:
    """Returns the ROC curve of sorted scores."""
    scores = ranking.scores
    last = np.append(np.flatnonzero(scores[1:] != scores[:-1]), scores.size - 1)
    tp = np.cumsum(ranking.members, dtype=np.int64)[last]
    return Roc(
        thresholds=np.append(np.inf, scores[last]),
        tp=np.append(0, tp),
        fp=np.append(0, last + 1 - tp),
    )


def roc(scores: Floats, members: Bools) -> Roc:
    """Returns the ROC curve of scores of any shape; higher scores mean members."""
    return roc_of_ranking(rank(scores, members))


def auc(curve: Roc) -> float:
    """Returns the area under the curve: the probability that a member outranks a non-member."""
    twice = np.sum(np.diff(curve.fp) * (curve.tp[1:] + curve.tp[:-1]))
    return float(twice / (2 * curve.positives * curve.negatives))


def resolves(curve: Roc, fpr: float) -> bool:
    """Tells whether there are the 1/fpr non-member scores without which an FPR means nothing."""
    return allowed(curve, fpr) >= 1


def tpr_at(curve: Roc, fpr: float) -> float:
    """Returns the largest TPR over vertices whose FPR is at most `fpr`; NaN if not resolvable."""
    if not resolves(curve, fpr):
        return float("nan")
    return float(curve.tp[_vertex(curve, fpr)] / curve.positives)


def fpr_at(curve: Roc, fpr: float) -> float:
    """Returns the FPR at the vertex of `tpr_at`, less than `fpr` where scores tie; NaN likewise."""
    if not resolves(curve, fpr):
        return float("nan")
    return float(curve.fp[_vertex(curve, fpr)] / curve.negatives)


def precision_at(curve: Roc, fpr: float) -> float:
    """Returns TPR / (TPR + FPR) at the vertex of `tpr_at`: the precision when half are members.

    NaN if the FPR is not resolvable, or if nobody scores above that vertex.
    """
    if not resolves(curve, fpr):
        return float("nan")
    vertex = _vertex(curve, fpr)
    found = curve.tp[vertex] / curve.positives
    wrong = curve.fp[vertex] / curve.negatives
    return float(found / (found + wrong)) if found + wrong > 0 else float("nan")


def allowed(curve: Roc, fpr: float) -> int:
    """Returns how many false positives an FPR of at most `fpr` allows."""
    return int(np.floor(fpr * curve.negatives + 1e-9))


def _vertex(curve: Roc, fpr: float) -> int:
    return int(np.searchsorted(curve.fp, allowed(curve, fpr), side="right")) - 1
