"""Cross-fitting over models: a rule learned on one half of the models is used on the other.

A classifier or constant that is learned on several shadows at once could reveal a target's bits if
the target was one of them. So even models are scored by rules learned on odd ones, and vice versa.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import NotApplicable


def halves(models: int) -> Iterator[tuple[Ints, Ints]]:
    """Yields `(scored, taught_by)` twice: the even and the odd models, then the reverse."""
    even, odd = np.arange(0, models, 2), np.arange(1, models, 2)
    yield even, odd
    yield odd, even


def tuned(
    candidates: Sequence[float], members: Bools, among: Callable[[Ints], Callable[[float], Floats]]
) -> Floats:
    """Returns `(M, 1)` for each target the candidate that best attacks the other half's shadows.

    Args:
        candidates: Values to try; the first of equally good ones is taken.
        members: `(M, n)` the shadows' bits.
        among: Given the numbers of k shadows, returns the attack of each of them with the others as
            its shadows: a candidate to scores `(k, n)`.

    Raises:
        NotApplicable: There are fewer than four models: one shadow cannot attack another.
    """
    if len(members) < 4:
        raise NotApplicable("tuning on shadows needs four models: set the constant yourself")
    best = np.empty((len(members), 1))
    for scored, taught_by in halves(len(members)):
        attack = among(taught_by)
        found = [_mean_auc(attack(value), members[taught_by]) for value in candidates]
        best[scored] = candidates[int(np.argmax(found))]
    return best


def _mean_auc(scores: Floats, members: Bools) -> float:
    """Returns the AUC within a model, averaged over the models that have both kinds of points.

    Ties are broken by position, which knows no bits.
    """
    # Mann-Whitney: the members' rank sum counts the pairs in which the member has the larger score.
    positives = members.sum(1)
    pairs = positives * (members.shape[1] - positives)
    bits = np.take_along_axis(members, np.argsort(scores, axis=1, kind="stable"), 1)
    ranks = bits @ np.arange(1, members.shape[1] + 1)
    wins = ranks - positives * (positives + 1) / 2
    known = pairs > 0
    return float((wins[known] / pairs[known]).mean()) if known.any() else 0.5
