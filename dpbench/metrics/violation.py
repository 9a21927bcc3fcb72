"""One test of a cell's rows together: is some attack better than the mechanism allows?

A claim bounds every decision rule at every price of a false positive: E[TPR - price FPR] <= gain,
whatever the threshold, as long as it does not depend on the model's bits. With thresholds from the
other fold of models, a model's TPR - price FPR is one number, models are independent, and what the
examples of a model share, however much it is, is in the variance of these numbers. So each row has
three t-tests with the model as the unit, at price 1 (the advantage) and at the slopes of the
trade-off curve at two FPRs, and a fourth from the guesses behind `epsilon_lower`. Holm's procedure
over all of a cell's rows and tests keeps the probability to blame any row of a right mechanism at
`LEVEL`.

Confidence limits of single rates are no such test: they are many, and limits read off the pooled
curve are too high where models share variance, as the curve of few models that happen to be alike
is better than the mechanism's. Where a few models have most of the false positives, t is wrong as
well: most samples miss the models that matter. There, and where there are few models, the rates
blame nobody.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from dpbench.metrics.lower_bound import LowerBound
from dpbench.metrics.roc import Bools, Floats, Roc, allowed
from dpbench.metrics.thresholds import best_threshold

LEVEL = 0.025
"""Probability that any row of a cell whose mechanism keeps its claim is blamed."""

LEAST_MODELS = 24
"""Effective models below which rates prove nothing; chosen by `bench.violations`."""


class RowMoments(NamedTuple):
    """TPR and FPR of models at thresholds from others: what a test at any price needs.

    Attributes:
        models: Number of models.
        effective: The models' effective number: (sum of rates)^2 / sum of squares, of TPR or of
            FPR, whichever is smaller; the number of models where there are no false positives.
        mean: TPR and FPR.
        second: Central moments TT, TF, FF.
        third: Central moments TTT, TTF, TFF, FFF.
    """

    models: int
    effective: float
    mean: tuple[float, ...]
    second: tuple[float, ...]
    third: tuple[float, ...]

    def p_value(self, price: float, gain: float) -> float:
        """Returns how likely such models are at most, if E[TPR - price FPR] <= gain.

        A negative skew, from models with many false positives, makes Student's t too large; Hall's
        (1992) cubic transformation takes that back.
        """
        excess = self.mean[0] - price * self.mean[1] - gain
        if self.effective < LEAST_MODELS or excess <= 0:
            return 1.0
        powers = (-price) ** np.arange(4)
        variance = float(np.dot((1, 2, 1) * powers[:3], self.second))
        # Models that agree exactly and exceed the limit are no accident of sampling.
        if variance <= 0:
            return 0.0
        # A positive skew makes the test cautious, which needs no correction.
        skew = min(0.0, float(np.dot((1, 3, 3, 1) * powers, self.third)) / variance**1.5)
        count = self.models
        ratio = excess / (variance * count / (count - 1)) ** 0.5
        ratio += skew * ratio**2 / 3 + skew**2 * ratio**3 / 27 + skew / (6 * count)
        return float(stdtr(self.effective - 1, -(count**0.5) * ratio))


class RowEvidence(NamedTuple):
    """What a row says about a claim: rates at the best threshold and at some FPRs, and guesses."""

    rates: tuple[RowMoments, ...]
    guesses: LowerBound

    def to_json(self) -> dict[str, list[object]]:
        """Returns what `from_json` reads."""
        return {"rates": [list(point) for point in self.rates], "guesses": list(self.guesses)}

    @classmethod
    def from_json(cls, found: dict[str, list[Any]]) -> "RowEvidence":
        """Returns the evidence that a record holds."""
        rates = tuple(RowMoments(*point) for point in found["rates"])
        return cls(rates, LowerBound(*found["guesses"]))


class Allowed(NamedTuple):
    """What a claim allows: at each price of false positives the largest gain, and (epsilon, delta).

    Attributes:
        prices: One for each of the rates of `RowEvidence`.
        gains: The largest TPR - price FPR.
        epsilon: At delta.
        delta: Of the guarantee.
    """

    prices: tuple[float, ...]
    gains: tuple[float, ...]
    epsilon: float
    delta: float


def moments(
    scores: Floats,
    members: Bools,
    models: NDArray[np.int64],
    curves: tuple[Roc, Roc],
    fprs: Sequence[float],
) -> tuple[RowMoments, ...]:
    """Returns the rates of models at the best threshold of the other fold, and at its FPRs.

    Args:
        scores: `(len(models), n)` scores of the models.
        members: Their bits.
        models: Their numbers; model m is in fold m % 2.
        curves: ROC curves of fold 0 and fold 1.
        fprs: False positive rates.
    """
    found = []
    for fpr in (None, *fprs):
        thresholds = [best_threshold(one) if fpr is None else _at(one, fpr) for one in curves]
        called = scores >= np.array(thresholds[::-1])[models % 2][:, None]
        found.append(_moments(_rate(called, members), _rate(called, ~members)))
    return tuple(found)


def blamed(rows: Sequence[RowEvidence], claim: Allowed) -> list[bool]:
    """Returns which rows of a cell prove that its mechanism breaks its claim."""
    chances = np.array([_p_values(row, claim) for row in rows])
    order = np.argsort(chances, axis=None, kind="stable")
    # Holm: the smallest of K against LEVEL / K, the next against LEVEL / (K - 1), until one fails.
    holds = chances.ravel()[order] <= LEVEL / np.arange(order.size, 0, -1)
    rejected = np.zeros(chances.size, dtype=np.bool_)
    rejected[order[: int(np.argmin(np.append(holds, False)))]] = True
    return [bool(row.any()) for row in rejected.reshape(chances.shape)]


def _p_values(row: RowEvidence, claim: Allowed) -> list[float]:
    limits = zip(row.rates, claim.prices, claim.gains, strict=True)
    rates = [point.p_value(price, gain) for point, price, gain in limits]
    return [*rates, row.guesses.p_value(claim.epsilon, claim.delta)]


def _at(curve: Roc, fpr: float) -> float:
    """Returns the lowest threshold whose FPR is at most `fpr`."""
    place = np.searchsorted(curve.fp, allowed(curve, fpr), side="right") - 1
    return float(curve.thresholds[place])


def _rate(called: Bools, some: Bools) -> NDArray[np.float64]:
    counts = np.maximum(np.count_nonzero(some, axis=1), 1)
    rate: NDArray[np.float64] = np.count_nonzero(called & some, axis=1) / counts
    return rate


def _moments(tpr: NDArray[np.float64], fpr: NDArray[np.float64]) -> RowMoments:
    t, f = tpr - tpr.mean(), fpr - fpr.mean()
    return RowMoments(
        models=tpr.size,
        effective=min(_effective(tpr), _effective(fpr)),
        mean=(float(tpr.mean()), float(fpr.mean())),
        second=tuple(float(np.mean(one)) for one in (t * t, t * f, f * f)),
        third=tuple(float(np.mean(one)) for one in (t * t * t, t * t * f, t * f * f, f * f * f)),
    )


def _effective(rate: NDArray[np.float64]) -> float:
    total = float(rate.sum())
    # Kish's effective number: that of equally large rates with the same relative variance.
    return total**2 / float(rate @ rate) if total > 0 else float(rate.size)
