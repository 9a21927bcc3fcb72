"""AUC and TPR at low FPR of many reweighted samples at once.

Sorting is done once. The sorted scores are cut into bins, and a replicate's counts per bin are one
sparse product of the bins' contents with the replicates' weights.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from dpbench.metrics.intervals import Weights
from dpbench.metrics.roc import Ranking

# Above this FPR no threshold is looked for, so bins may be coarse; below it every non-member is its
# own bin, until there are so many that a bin is a two-hundred-thousandth of them.
_FINE_FPR = 0.02
_FINEST = 200_000
_COARSE_BINS = 500


class Bins:
    """Sorted scores cut at positions that never separate equal scores.

    In the fine range a bin begins with a non-member and holds the members that follow it, so that
    its end is the best vertex with that many false positives, whatever the weights.

    Args:
        ranking: At least one score.
        fine: Share of the ranked non-members that the fine range holds.
    """

    def __init__(self, ranking: Ranking, *, fine: float = _FINE_FPR) -> None:
        self._ranking = ranking
        starts = _bin_starts(ranking, fine)
        self._edges = np.append(starts, ranking.scores.size)
        before = np.append(0, np.cumsum(ranking.members))
        self._member_edges = before[self._edges]

    def statistics(
        self, units: NDArray[np.int64], weights: Weights, fprs: Sequence[float]
    ) -> NDArray[np.float64]:
        """Returns AUC and the TPR at each FPR, `(1 + len(fprs), R)`, of R weighted samples.

        Args:
            units: `(N,)` the unit (model or example) of each flattened score.
            weights: `(units, R)` how often each sample holds each unit.
            fprs: False positive rates, below 2 %.
        """
        tp, fp = self._both(units, weights)
        positives = np.maximum(tp.sum(0), 1)
        np.cumsum(fp, axis=0, out=fp)
        negatives = np.maximum(fp[-1], 1)
        # The mean number of non-members above a bin's members: half of the bin's own.
        above = np.vstack([fp[:1] / 2, (fp[1:] + fp[:-1]) / 2]) / negatives
        area = 1 - np.einsum("br,br->r", tp, above) / positives
        np.cumsum(tp, axis=0, out=tp)
        found = [_found(tp, fp, fpr * negatives) / positives for fpr in fprs]
        return np.asarray([area, *found], dtype=np.float64)

    def found(
        self, units: NDArray[np.int64], weights: Weights, allowed: NDArray[np.floating]
    ) -> Weights:
        """Returns how many members R weighted samples find, `(R,)`, at so many false positives.

        Args:
            units: As in `statistics`. The ranking may lack low scores, whose units do not matter.
            weights: As in `statistics`.
            allowed: `(R,)` the most false positives.
        """
        tp, fp = self._both(units, weights)
        return _found(np.cumsum(tp, axis=0), np.cumsum(fp, axis=0), allowed)

    def _both(self, units: NDArray[np.int64], weights: Weights) -> tuple[Weights, Weights]:
        """Returns the members and the non-members in each bin, `(bins, R)`."""
        sorted_units = units[self._ranking.order].astype(np.int32)
        members = self._ranking.members
        return (
            self._counts(sorted_units[members], self._member_edges, weights),
            self._counts(sorted_units[~members], self._edges - self._member_edges, weights),
        )

    @staticmethod
    def _counts(units: NDArray[np.int32], edges: NDArray[np.int64], weights: Weights) -> Weights:
        ones = np.ones(units.size, dtype=np.float32)
        shape = (edges.size - 1, weights.shape[0])
        contents = csr_array((ones, units, edges.astype(np.int32)), shape=shape)
        return np.asarray(contents @ weights)


def units(shape: tuple[int, ...], axis: int) -> NDArray[np.int64]:
    """Returns the model (axis 0) or the example (axis 1) of each score of a flattened table."""
    return np.broadcast_to(np.expand_dims(np.arange(shape[axis]), 1 - axis), shape).ravel()


class Decided(NamedTuple):
    """Weighted counts of decisions, `(R,)` each, and never a division by none."""

    found: Weights
    positives: Weights
    wrong: Weights
    negatives: Weights

    @property
    def advantage(self) -> NDArray[np.float64]:
        """TPR - FPR."""
        gap = self.found / self.positives - self.wrong / self.negatives
        return np.asarray(gap, dtype=np.float64)


def decided(
    decisions: NDArray[np.bool_], members: NDArray[np.bool_], axis: int, weights: Weights
) -> Decided:
    """Counts decisions `(M, n)` under `(units, R)` weights of models (axis 0) or examples (1)."""
    found, positives, wrong, negatives = (
        np.count_nonzero(cells, axis=1 - axis) @ weights
        for cells in (decisions & members, members, decisions & ~members, ~members)
    )
    return Decided(found, np.maximum(positives, 1), wrong, np.maximum(negatives, 1))


def _found(tp: Weights, fp: Weights, allowed: NDArray[np.floating]) -> Weights:
    """Returns the members above the last bin whose false positives are allowed; from sums."""
    passed = np.count_nonzero(fp <= allowed * (1 + 1e-6), axis=0)
    found: Weights = np.where(passed > 0, tp[passed - 1, np.arange(tp.shape[1])], 0)
    return found


def _bin_starts(ranking: Ranking, fine_fpr: float) -> NDArray[np.int64]:
    scores, size = ranking.scores, ranking.scores.size
    groups = np.append(0, 1 + np.flatnonzero(scores[1:] != scores[:-1]))
    outsiders = np.append(0, np.cumsum(~ranking.members))
    before, total = outsiders[groups], outsiders[-1]
    after = np.append(before[1:], total)
    fine = max(1, -(-total // _FINEST))
    coarse = -(-size // _COARSE_BINS)
    # A group opens a bin when it holds the first non-member, or position, of a new stride.
    opens_fine = (after - 1) // fine > (before - 1) // fine
    opens_coarse = groups // coarse > np.append(-1, groups[:-1] // coarse)
    opens = np.where(before < fine_fpr * total, opens_fine, opens_coarse)
    opens[0] = True
    return groups[opens]
