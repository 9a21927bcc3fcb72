"""ROC curves from counts: equal scores are one vertex, and a vertex joins the next by a chord.

An adversary who wants a false positive rate that falls among equal scores guesses at random which
of them are members. In expectation this reaches every point of the chord (Fawcett 2006, section 6),
so rates between two vertices are read on it. Scores without ties are not affected.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.arrays import Bools as Bools
from dpbench.arrays import Floats as Floats

Counts = NDArray[np.integer]


class Ranking(NamedTuple):
    """Scores sorted from the highest to the lowest.

    Attributes:
        order: `(N,)` positions in the flattened input.
        scores: `(N,)` scores in that order.
        members: `(N,)` bits in that order.
    """

    order: Counts
    scores: Floats
    members: Bools

    def pick(self, some: Bools) -> "Ranking":
        """Returns the ranking of some of the sorted scores, marked in their order."""
        # Places are looked up ten times as fast as marks.
        places = np.flatnonzero(some)
        return Ranking(self.order[places], self.scores[places], self.members[places])


class Roc(NamedTuple):
    """The vertices of an ROC curve, from "nobody" to "everybody is a member".

    Counts are no wider than the scores need (`whole`), which their products may exceed.

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


class Guessed(NamedTuple):
    """How far a rate rests on guesses.

    Attributes:
        tied: How many equal scores the guesses are made among; 0 where none are made.
        share: What part of the false positives are such guesses.
    """

    tied: int
    share: float


def rank(scores: Floats, members: Bools) -> Ranking:
    """Sorts scores of any shape, with their membership bits of the same shape."""
    order = np.argsort(scores, axis=None)[::-1].astype(whole(scores.size))
    return Ranking(order, scores.ravel()[order], members.ravel()[order])


def whole(size: int) -> type[np.signedinteger]:
    """Returns the type of positions and counts up to a size: half the memory where that holds."""
    return np.int32 if size <= np.iinfo(np.int32).max else np.int64


def first_of_equals(scores: Floats) -> Counts:
    """Returns the ranks at which sorted scores change, the first one's 0 included."""
    changes = np.flatnonzero(scores[1:] != scores[:-1])
    firsts = np.zeros(changes.size + 1, whole(scores.size))
    np.add(changes, 1, out=firsts[1:], casting="unsafe")
    return firsts


def counts_before(marks: Bools) -> Counts:
    """Returns how many marks lie before each rank, `(N + 1,)`: the last counts all of them."""
    counts = np.zeros(marks.size + 1, whole(marks.size))
    np.cumsum(marks, dtype=counts.dtype, out=counts[1:])
    return counts


def roc_of_ranking(ranking: Ranking) -> Roc:
    """Returns the ROC curve of sorted scores."""
    scores = ranking.scores
    firsts = first_of_equals(scores)
    thresholds = np.empty(firsts.size + 1, np.result_type(scores.dtype, np.float32))
    thresholds[0], thresholds[1:] = np.inf, scores[firsts]
    ends = np.append(firsts, firsts.dtype.type(scores.size))
    del firsts
    tp = counts_before(ranking.members)[ends]
    return Roc(thresholds=thresholds, tp=tp, fp=np.subtract(ends, tp, out=ends))


def roc(scores: Floats, members: Bools) -> Roc:
    """Returns the ROC curve of scores of any shape; higher scores mean members."""
    return roc_of_ranking(rank(scores, members))


def auc(curve: Roc) -> float:
    """Returns the area under the curve: the probability that a member outranks a non-member."""
    # Twice the area in whole numbers: a trapezoid per group of ties, and no rounding.
    steps, sums = np.diff(curve.fp), np.add(curve.tp[1:], curve.tp[:-1], dtype=np.int64)
    twice = np.sum(np.multiply(steps, sums, out=sums))
    return float(twice / (2 * curve.positives * curve.negatives))


def resolves(curve: Roc, fpr: float) -> bool:
    """Tells whether there are the 1/fpr non-member scores without which an FPR means nothing."""
    return allowed(curve, fpr) >= 1


def tpr_at(curve: Roc, fpr: float) -> float:
    """Returns the largest TPR with an FPR of at most `fpr`; NaN if not resolvable."""
    return _point(curve, fpr).found / curve.positives


def fpr_at(curve: Roc, fpr: float) -> float:
    """Returns the FPR of `tpr_at`: `fpr`, up to one non-member; NaN likewise."""
    return _point(curve, fpr).wrong / curve.negatives


def precision_at(curve: Roc, fpr: float) -> float:
    """Returns TPR / (TPR + FPR) at the point of `tpr_at`: the precision when half are members.

    NaN if the FPR is not resolvable, or if nobody is called a member there.
    """
    point = _point(curve, fpr)
    found, wrong = point.found / curve.positives, point.wrong / curve.negatives
    return found / (found + wrong) if found + wrong > 0 else math.nan


def guessed_at(curve: Roc, fpr: float) -> Guessed:
    """Returns how far the rates at `fpr` rest on guesses among equal scores."""
    point = _point(curve, fpr)
    return Guessed(point.tied, point.guessed / point.wrong if point.wrong > 0 else 0.0)


def allowed(curve: Roc, fpr: float) -> int:
    """Returns how many false positives an FPR of at most `fpr` allows."""
    return int(np.floor(fpr * curve.negatives + 1e-9))


def vertex_at(curve: Roc, fpr: float) -> int:
    """Returns the last vertex whose FPR is at most `fpr`."""
    # Of the counts' own type, or all of them are copied to the wider one.
    most = curve.fp.dtype.type(allowed(curve, fpr))
    return int(np.searchsorted(curve.fp, most, side="right")) - 1


class _Point(NamedTuple):
    """A point on a curve, in counts; `guessed` of the `wrong` are guesses among `tied` scores."""

    found: float
    wrong: float
    tied: int
    guessed: float


def _point(curve: Roc, fpr: float) -> _Point:
    if not resolves(curve, fpr):
        return _Point(math.nan, math.nan, 0, 0.0)
    vertex = vertex_at(curve, fpr)
    tp, fp = int(curve.tp[vertex]), int(curve.fp[vertex])
    if vertex + 1 == curve.tp.size:
        return _Point(tp, fp, 0, 0.0)
    found, wrong = int(curve.tp[vertex + 1]) - tp, int(curve.fp[vertex + 1]) - fp
    # Without a member among them, the next scores add nothing but false positives.
    if found == 0:
        return _Point(tp, fp, 0, 0.0)
    # `allowed` is rounded up by 1e-9 where fpr * negatives is whole but for its last digit.
    guessed = max(fpr * curve.negatives, allowed(curve, fpr)) - fp
    return _Point(tp + found * guessed / wrong, fp + guessed, found + wrong, guessed)
