"""What an adversary reaches whose threshold never saw the target.

The threshold for a false positive rate is chosen on the other fold of models, whose bits such an
adversary knows, and kept on the target. The FPR that results is another number than the one aimed
at, so it is reported beside the TPR, and with both the precision at several shares of members: an
attacker who meets one member among a hundred is wrong far more often than the balanced game says.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpbench.metrics.intervals import Interval
from dpbench.metrics.roc import Bools, Floats, Roc, resolves
from dpbench.metrics.thresholds import Called, called, cut_for_fpr

PRIORS = (0.01, 0.1, 0.5)
"""Shares of members at which precision is reported."""


@dataclass(frozen=True, kw_only=True)
class ShadowRates:
    """Rates at the threshold that has a false positive rate on other models.

    Attributes:
        fpr: The rate aimed at.
        tpr: The TPR; NaN, as all else, if the other models do not resolve `fpr`.
        realised: The FPR on the reported models.
        precision: By prior, pi TPR / (pi TPR + (1 - pi) FPR); NaN if nobody is called a member.
    """

    fpr: float
    tpr: Interval
    realised: float
    precision: tuple[float, ...]

    def row(self) -> dict[str, float]:
        """Returns the columns of the attacks table."""
        numbers = (self.tpr.value, self.tpr.low, self.tpr.high, self.realised, *self.precision)
        return dict(zip(shadow_columns(self.fpr), numbers, strict=True))


def shadow_columns(fpr: float) -> tuple[str, ...]:
    """Returns the columns of one rate in the attacks table, in order."""
    name = f"shadow_fpr_{fpr:g}"
    return (
        *(f"tpr_at_{name}{end}" for end in ("", "_low", "_high")),
        f"realised_{name}",
        *(f"precision_at_{name}_prior_{prior:g}" for prior in PRIORS),
    )


def precision_at_prior(tpr: float, fpr: float, prior: float) -> float:
    """Returns what part of those who are called members are members, if a share `prior` is."""
    named = prior * tpr + (1 - prior) * fpr
    return prior * tpr / named if named > 0 else math.nan


def shadow_counts(
    scores: Floats,
    members: Bools,
    models: NDArray[np.int64],
    curves: tuple[Roc, Roc],
    fprs: Sequence[float],
) -> tuple[Called | None, ...]:
    """Returns who is called a member at each rate; None where a fold does not resolve it.

    Args:
        scores: `(m, n)` scores of the reported models.
        members: `(m, n)` their bits.
        models: `(m,)` their numbers.
        curves: ROC curves of fold 0 and fold 1 of the models on which thresholds are chosen.
        fprs: The rates aimed at.
    """
    return tuple(
        called(scores, members, models, (cut_for_fpr(curves[0], fpr), cut_for_fpr(curves[1], fpr)))
        if all(resolves(curve, fpr) for curve in curves)
        else None
        for fpr in fprs
    )


def shadow_rates(fpr: float, counts: Called | None, members: Bools, tpr: Interval) -> ShadowRates:
    """Returns the rates that counts amount to.

    Args:
        fpr: The rate aimed at.
        counts: Who was called a member, if the rate is resolvable.
        members: `(m, n)` bits.
        tpr: The TPR with its interval.
    """
    if counts is None:
        return ShadowRates(fpr=fpr, tpr=tpr, realised=math.nan, precision=(math.nan,) * len(PRIORS))
    realised = float(counts.wrong[0].sum() / np.count_nonzero(~members))
    precision = tuple(precision_at_prior(tpr.value, realised, prior) for prior in PRIORS)
    return ShadowRates(fpr=fpr, tpr=tpr, realised=realised, precision=precision)
