"""Guesses fixed in advance: the k highest scores are members, the k lowest are not."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from dpbench.metrics.roc import Bools, Counts, Ranking


class Tally(NamedTuple):
    """Guesses per example, over all models, `(n,)` each."""

    wrong: Counts
    right: Counts


def tallies(ranking: Ranking, *, tops: Counts, bottoms: Counts, examples: int) -> list[Tally]:
    """Counts wrong and right guesses for c choices of how many to make.

    Where a choice ends among equal scores, the highest take those that come first in the input, the
    lowest those that come last.

    Args:
        ranking: Sorted scores; positions are those of a flattened `(M, n)` table.
        tops: `(c,)` how many of the highest scores are called members.
        bottoms: `(c,)` how many of the lowest are called non-members; no score is guessed twice.
        examples: The table's n.
    """
    order, members = _by_position(ranking, np.unique([tops, ranking.order.size - bottoms]))
    example = order % order.dtype.type(examples)
    above = _prefixes(example, members, tops, examples)
    below = _prefixes(example[::-1], ~members[::-1], bottoms, examples)
    return [Tally(*(high + low)) for high, low in zip(above, below, strict=True)]


def _by_position(ranking: Ranking, cuts: Counts) -> tuple[Counts, Bools]:
    """Returns order and bits, equal scores that a cut parts being in the order of the input.

    Which of them are guessed must depend neither on bits nor on how the sort treats equal scores.
    """
    scores, size = ranking.scores, ranking.order.size
    parting = [cut for cut in cuts.tolist() if 0 < cut < size and scores[cut - 1] == scores[cut]]
    if not parting:
        return ranking.order, ranking.members
    order, members = ranking.order.copy(), ranking.members.copy()
    positions = int(order.max()) + 1
    bits, stop = np.empty(positions, dtype=np.bool_), 0
    for cut in parting:
        if cut >= stop:
            equal = scores == scores[cut]
            start = int(np.argmax(equal))
            stop = start + int(np.count_nonzero(equal))
            bits[order[start:stop]] = members[start:stop]
            # Marking them and reading the marks is sorting them.
            marks = np.zeros(positions, dtype=np.bool_)
            marks[order[start:stop]] = True
            order[start:stop] = np.flatnonzero(marks)
            members[start:stop] = bits[order[start:stop]]
    return order, members


def _prefixes(example: Counts, right: Bools, counts: Counts, examples: int) -> list[Counts]:
    """Returns wrong and right guesses per example, `(2, n)`, among the first so many guesses.

    Args:
        example: `(N,)` the example of each guess.
        right: `(N,)` whether the guess is right.
        counts: `(c,)` how many guesses to make.
        examples: Number of examples.
    """
    ends, place = np.unique(counts, return_inverse=True)
    cell = example[: ends[-1]] + example.dtype.type(examples) * right[: ends[-1]]
    sums = [np.zeros(2 * examples, dtype=np.int64)]
    for start, end in pairwise([0, *ends.tolist()]):
        sums.append(sums[-1] + np.bincount(cell[start:end], minlength=2 * examples))
    return [sums[1 + row].reshape(2, examples) for row in place.tolist()]
