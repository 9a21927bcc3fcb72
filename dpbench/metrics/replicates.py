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
from dpbench.metrics.roc import Counts, Ranking, counts_before, first_of_equals

# Above this FPR no threshold is looked for, so bins may be coarse; below it every non-member is its
# own bin, until there are so many that a bin is a two-hundred-thousandth of them.
_FINE_FPR = 0.02
_FINEST = 200_000
_COARSE_BINS = 500


class Bins:
    """Sorted scores cut at positions that never separate equal scores.

    In the fine range a bin begins with a non-member and holds the members that follow it, so that
    its end is the best vertex with that many false positives, whatever the weights. Equal scores of
    members and non-members are a bin of their own, whose share that is called members is guessed.

    Args:
        ranking: At least one score.
        fine: Share of the ranked non-members that the fine range holds.
    """

    def __init__(self, ranking: Ranking, *, fine: float = _FINE_FPR) -> None:
        outside = np.flatnonzero(~ranking.members)
        self._sides = ranking.order[np.flatnonzero(ranking.members)], ranking.order[outside]
        starts, self._tied = _bin_starts(ranking, fine)
        self._edges = np.append(starts, ranking.scores.size)
        self._member_edges = counts_before(ranking.members)[self._edges]

    def statistics(
        self, units: Counts, weights: Weights, fprs: Sequence[float]
    ) -> NDArray[np.float64]:
        """Returns AUC and the TPR at each FPR, `(1 + len(fprs), R)`, of R weighted samples.

        Args:
            units: `(N,)` the unit (model or example) of each flattened score.
            weights: `(units, R)` how often each sample holds each unit.
            fprs: False positive rates, below 2 %.
        """
        tp, fp = self._both(units, weights)
        # A replicate may draw no member at all: its rates are 0 then, not NaN.
        positives = np.maximum(tp.sum(0), 1)
        np.cumsum(fp, axis=0, out=fp)
        negatives = np.maximum(fp[-1], 1)
        # The mean number of non-members above a bin's members: half of the bin's own.
        above = np.vstack([fp[:1] / 2, (fp[1:] + fp[:-1]) / 2]) / negatives
        area = 1 - np.einsum("br,br->r", tp, above) / positives
        np.cumsum(tp, axis=0, out=tp)
        found = [_found(tp, fp, fpr * negatives, self._tied) / positives for fpr in fprs]
        return np.asarray([area, *found], dtype=np.float64)

    def found(
        self,
        units: Counts,
        weights: Weights,
        fpr: float,
        positives: NDArray[np.floating],
        negatives: NDArray[np.floating],
    ) -> Weights:
        """Returns how many members R weighted samples find, `(R,)`, at a false positive rate.

        Args:
            units: As in `statistics`. The ranking may lack the lowest scores, if these are equal.
            weights: As in `statistics`.
            fpr: The false positive rate.
            positives: `(R,)` all members of each sample.
            negatives: `(R,)` all non-members of each sample.
        """
        tp, fp = self._both(units, weights)
        for counts in (tp, fp):
            np.cumsum(counts, axis=0, out=counts)
        tp, fp = (np.vstack([c, a]) for c, a in ((tp, positives), (fp, negatives)))
        return _found(tp, fp, fpr * negatives, np.append(self._tied, True))

    def _both(self, units: Counts, weights: Weights) -> tuple[Weights, Weights]:
        """Returns the members and the non-members in each bin, `(bins, R)`."""
        inside, outside = (units[side].astype(np.int32, copy=False) for side in self._sides)
        return (
            self._counts(inside, self._member_edges, weights),
            self._counts(outside, self._edges - self._member_edges, weights),
        )

    @staticmethod
    def _counts(units: NDArray[np.int32], edges: Counts, weights: Weights) -> Weights:
        ones = np.ones(units.size, dtype=np.float32)
        shape = (edges.size - 1, weights.shape[0])
        # Indices of 32 bits halve the traffic of the product, which is all that it costs.
        contents = csr_array((ones, units, edges.astype(np.int32)), shape=shape)
        return np.asarray(contents @ weights)


def units(shape: tuple[int, ...], axis: int) -> NDArray[np.int32]:
    """Returns the model (axis 0) or the example (axis 1) of each score of a flattened table."""
    numbers = np.arange(shape[axis], dtype=np.int32)
    return np.broadcast_to(np.expand_dims(numbers, 1 - axis), shape).ravel()


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


def _found(
    tp: Weights, fp: Weights, allowed: NDArray[np.floating], tied: NDArray[np.bool_]
) -> Weights:
    """Returns the members above the last bin whose false positives are allowed; from sums.

    Of the bin after it, if its scores tie, as many are guessed as false positives are left.
    """
    # Counts are float32 sums: without the slack a threshold with exactly the allowed false
    # positives would be missed now and then.
    passed = np.count_nonzero(fp <= allowed * (1 + 1e-6), axis=0)
    last, following = passed - 1, np.minimum(passed, len(tied) - 1)
    samples = np.arange(tp.shape[1])
    found, wrong = (np.where(passed > 0, sums[last, samples], 0) for sums in (tp, fp))
    more, worse = tp[following, samples] - found, fp[following, samples] - wrong
    guesses = tied[following] & (passed < len(tied)) & (worse > 0)
    share = np.divide(allowed - wrong, worse, out=np.zeros(worse.shape), where=guesses)
    total: Weights = found + np.where(guesses, np.clip(share, 0, 1) * more, 0)
    return total


def _bin_starts(ranking: Ranking, fine_fpr: float) -> tuple[Counts, NDArray[np.bool_]]:
    """Returns where bins start, and which are read on the chord: those of equal scores."""
    groups = first_of_equals(ranking.scores)
    outsiders = counts_before(~ranking.members)
    total = int(outsiders[-1])
    before = outsiders[groups]
    del outsiders
    # A group opens a bin when it holds the first non-member, or position, of a new stride.
    stride = -(-ranking.scores.size // _COARSE_BINS)
    place = groups // stride
    opens = np.append(True, place[1:] > place[:-1])
    del place
    # Above the fine range only the area is read, which bins of many scores change by little.
    stop = int(np.count_nonzero(before < fine_fpr * total))
    stride = max(1, -(-total // _FINEST))
    after = np.append(before[1 : stop + 1], total)[:stop]
    opens[:stop] = (after - 1) // stride > (before[:stop] - 1) // stride
    opens[0] = True
    # Groups of several scores with members and non-members, up to the first below the fine range.
    ends = np.append(groups[1 : stop + 1], ranking.scores.size)[:stop]
    wrong = after - before[:stop]
    mixed = np.flatnonzero((wrong > 0) & (ends - groups[:stop] > wrong))
    opens[mixed] = True
    opens[np.minimum(mixed + 1, opens.size - 1)] = True
    # A resample of few units may look for its threshold among the coarse bins: these hold several
    # groups, and the chord between their ends is as near as a curve in bins can be.
    tied = np.ones(opens.size, dtype=np.bool_)
    tied[:stop] = False
    tied[mixed] = True
    starts: Counts = groups[opens]
    return starts, tied[opens]
