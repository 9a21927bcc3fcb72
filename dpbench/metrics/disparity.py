"""Do attacks find the same members, and does one attack find the same ones again?

Two attacks of equal power may find different members, and so may two runs of one attack with
different shadows. Wang et al., CCS 2025, call the union of what several instances find the coverage
of an attack, and their intersection its stability.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.metrics.roc import Bools, Floats, allowed, roc


class Disparity(NamedTuple):
    """Shares of all members that J instances of one attack find.

    Attributes:
        tpr: Found by one instance, on average.
        coverage: Found by at least one of them.
        stability: Found by all of them.
        jaccard: Intersection over union of what two instances find, averaged over pairs; NaN if
            nobody finds anybody.
    """

    tpr: float
    coverage: float
    stability: float
    jaccard: float


def found_at(scores: Floats, members: Bools, fpr: float) -> Bools:
    """Returns which scores `(M, n)` call a member, at thresholds of the other models.

    Even models are decided at the lowest threshold whose FPR is at most `fpr` on odd models, and
    the reverse.

    Raises:
        ValueError: Some fold has fewer than 1 / fpr non-member scores.
    """
    decisions = np.zeros(scores.shape, bool)
    for fold in (0, 1):
        curve = roc(scores[1 - fold :: 2], members[1 - fold :: 2])
        if allowed(curve, fpr) < 1:
            raise ValueError(f"an FPR of {fpr:g} needs {1 / fpr:g} non-member scores in each fold")
        vertex = np.searchsorted(curve.fp, allowed(curve, fpr), side="right") - 1
        decisions[fold::2] = scores[fold::2] >= curve.thresholds[vertex]
    return decisions


def disparity(found: Bools) -> Disparity:
    """Returns how much several instances agree.

    Args:
        found: `(J, N)` which of N members each of J instances finds.
    """
    pairs = [(i, j) for i in range(len(found)) for j in range(i)]
    overlaps = [jaccard(found[i], found[j]) for i, j in pairs]
    known = [overlap for overlap in overlaps if not np.isnan(overlap)]
    return Disparity(
        tpr=float(found.mean()),
        coverage=float(found.any(0).mean()),
        stability=float(found.all(0).mean()),
        jaccard=float(np.mean(known)) if known else float("nan"),
    )


def jaccard(one: Bools, other: Bools) -> float:
    """Returns the intersection over the union of two sets; NaN if both are empty."""
    union = int((one | other).sum())
    return float((one & other).sum() / union) if union else float("nan")


def exclusive(found: Bools) -> NDArray[np.float64]:
    """Returns `(K,)` the share of members that only this one of K attacks finds.

    Args:
        found: `(K, N)` which of N members each attack finds.
    """
    alone: NDArray[np.float64] = (found & (found.sum(0) == 1)).mean(1)
    return alone
