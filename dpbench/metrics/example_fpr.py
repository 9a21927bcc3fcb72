"""Scores measured against each example's own, so that no example bears all false positives."""

import numpy as np
from numpy.typing import NDArray

from dpbench.metrics.roc import Bools, Floats, Ranking, Roc, roc_of_ranking

# So many scores are looked at together, that what is made on the way stays small.
_BLOCK = 2**21


def margins(scores: Floats, members: Bools) -> NDArray[np.float64]:
    """Returns by how much each score exceeds the example's scores under other models without it.

    A pooled FPR of 1 % may be 0 for most examples and 30 % for a few. To exceed all k other models
    that are without the example happens to a non-member with probability at most 1 / (k + 1), in
    every example, whatever the distribution: k is 31 or so of 64 models, which cannot resolve 1 %
    of an example. So the excess is measured in units of the example's spread, the distance from the
    median of those scores to the highest, and one threshold for these margins takes the average
    over examples down to 1 %. That the same margin suits every example is an assumption;
    1 / (k + 1) is not. (A Gaussian fit to each example's scores has, where 1 % is asked for, an FPR
    between 0.02 % and 2 % on the default grid.)

    The models must not use each other's bits. Leave-one-out shadows do: what a member is compared
    with knows that it is one, and on models that leak nothing, online LiRA gets a TPR of 0.1 %
    where 1 % is due.

    Args:
        scores: `(M, n)` finite scores.
        members: `(M, n)` bits.

    Returns:
        `(M, n)`: infinite where the spread is 0; 0 for a score that is not above all others, or
        that has fewer than two to exceed. A model's own score and bit move nothing that it is
        compared with.
    """
    found = np.zeros(scores.shape)
    if len(scores) < 3:
        return found
    width = max(1, _BLOCK // len(scores))
    for first in range(0, scores.shape[1], width):
        block = np.s_[:, first : first + width]
        _measure(scores[block], members[block], found[block])
    return found


def _measure(scores: Floats, members: Bools, found: NDArray[np.float64]) -> None:
    """Puts the margins that are above 0 into `found`."""
    outside = ~members
    # Examples as rows: an example's scores lie side by side while they are sorted.
    ranked = np.sort(np.where(outside, -scores, np.inf).T.copy(), axis=1)
    np.negative(ranked, out=ranked)
    count = np.count_nonzero(outside, axis=0)
    highest = np.where(outside & (scores >= ranked[:, 0]), ranked[:, 1:2].ravel(), ranked[:, 0])
    model, example = np.nonzero((scores > highest) & (count - outside >= 2))
    score, is_ranked = scores[model, example], outside[model, example]
    middle = (count[example] - is_ranked) // 2
    median = np.where(
        is_ranked & (score >= ranked[example, middle]),
        ranked[example, middle + 1],
        ranked[example, middle],
    )
    excess, spread = (
        np.subtract(upper, lower, dtype=np.float64)
        for upper, lower in ((score, highest[model, example]), (highest[model, example], median))
    )
    found[model, example] = np.divide(
        excess, spread, out=np.full(spread.shape, np.inf), where=spread > 0
    )


def rank_margins(found: NDArray[np.float64], members: Bools) -> tuple[Ranking, Roc]:
    """Returns the margins above 0, sorted, and the ROC curve of all margins.

    Few scores stand out, so that sorting them alone is cheap.

    Args:
        found: `(m, n)` margins.
        members: `(m, n)` bits.
    """
    flat, bits = found.ravel(), members.ravel()
    some = np.flatnonzero(flat)
    order = some[np.argsort(flat[some])[::-1]]
    ranking = Ranking(order, flat[order], bits[order])
    nobody = Roc(np.array([np.inf]), np.zeros(1, np.int64), np.zeros(1, np.int64))
    thresholds, tp, fp = roc_of_ranking(ranking) if order.size else nobody
    positives = np.count_nonzero(bits)
    everybody = Roc(
        np.append(thresholds, 0.0),
        np.append(tp, positives),
        np.append(fp, bits.size - positives),
    )
    return ranking, everybody
