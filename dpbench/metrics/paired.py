"""Differences between defenses that were measured on the same models' bits and the same examples.

All cells of a grid share their membership bits, their pool and their test set. A bootstrap that
draws the same models and the same examples for every cell keeps what they share, and what they
share cancels in a difference. See `intervals` for why models and examples are drawn apart.

What all models share, the pool they are trained on, is in no draw: an interval is about new models
of this pool. For the difference in accuracy between two defenses on a new pool, from which both
would be trained anew, 95 % intervals hold in 79 to 88 % of simulated studies only; another pool is
another run.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from dpbench.metrics.intervals import (
    Interval,
    crossed_interval,
    deviations,
    resampling_weights,
)
from dpbench.metrics.replicates import Bins, decided, units
from dpbench.metrics.roc import Bools, Floats, rank
from dpbench.metrics.strength import FPRS
from dpbench.metrics.thresholds import decide, fold_curves

PAIRED = ("advantage", "auc", *(f"tpr_at_fpr_{fpr:g}" for fpr in FPRS))
"""Metrics whose differences can be paired."""


class Draws(NamedTuple):
    """A statistic on the sample and on its replicates; arithmetic keeps the pairing.

    Attributes:
        models: `(1 + R,)` values with models resampled; the first is the sample's.
        examples: `(1 + R,)` values with examples resampled; the first is the sample's.
    """

    models: NDArray[np.float64]
    examples: NDArray[np.float64]

    @property
    def value(self) -> float:
        """The statistic of the sample itself."""
        return float(self.models[0])


def combine(function: Callable[..., float], *draws: Draws) -> Draws:
    """Returns a function of statistics, replicate by replicate."""
    return Draws(
        *(
            np.array([function(*values) for values in zip(*axis, strict=True)], dtype=np.float64)
            for axis in zip(*draws, strict=True)
        )
    )


class Resampling:
    """Draws that all cells share: of models, of pool examples and of test examples.

    Args:
        models: M.
        examples: Audited pool examples.
        tests: Test examples.
        rng: Draws the replicates.
        replicates: R, for models and as many for examples.
    """

    def __init__(
        self, *, models: int, examples: int, tests: int, rng: np.random.Generator, replicates: int
    ) -> None:
        self._models = resampling_weights(models, replicates, rng)
        self._examples = resampling_weights(examples, replicates, rng)
        self._tests = resampling_weights(tests, replicates, rng)

    def accuracy(self, correct: Bools) -> Draws:
        """Returns the accuracy of a cell, given which answers were right, `(M, tests)`."""
        models, tests = correct.shape
        return Draws(
            np.asarray(correct.mean(1) @ self._models / models, dtype=np.float64),
            np.asarray(correct.mean(0) @ self._tests / tests, dtype=np.float64),
        )

    def advantage(
        self,
        scores: Floats,
        members: Bools,
        models: NDArray[np.int64],
        source: Floats | None = None,
    ) -> Draws:
        """Returns TPR - FPR of some models, at thresholds best on the other fold of models.

        Args:
            scores: `(M, n)`.
            members: `(M, n)`.
            models: Numbers of the models that count.
            source: `(M, n)` scores on which the thresholds are chosen, which must not know the bits
                of the models that count (`thresholds`); None takes `scores`.
        """
        # Thresholds come from the sample, not from each replicate: the interval is about a fixed
        # decision rule.
        curves = fold_curves(rank(scores if source is None else source, members), scores.shape[1])
        decisions, bits = decide(scores[models], models, curves), members[models]
        return Draws(
            *(
                decided(decisions, bits, axis, weights).advantage
                for axis, weights in enumerate((self._models[models], self._examples))
            )
        )

    def curve(
        self,
        scores: Floats,
        members: Bools,
        models: NDArray[np.int64],
        fprs: Sequence[float],
    ) -> list[Draws]:
        """Returns AUC, and TPRs at false positive rates below 2 %, of some models' pooled ROC."""
        bits = members[models]
        bins = Bins(rank(scores[models], bits))
        axes = [
            bins.statistics(units(bits.shape, axis), weights, fprs)
            for axis, weights in enumerate((self._models[models], self._examples))
        ]
        return [Draws(*values) for values in zip(*axes, strict=True)]

    def metric(
        self,
        name: str,
        scores: Floats,
        members: Bools,
        models: NDArray[np.int64] | None = None,
        source: Floats | None = None,
    ) -> Draws:
        """Returns one of the metrics that can be paired (`PAIRED`), of some models or of all.

        Args:
            name: The metric.
            scores: `(M, n)`.
            members: `(M, n)`.
            models: Numbers of the models that count.
            source: `(M, n)` scores on which the thresholds of the advantage are chosen.
        """
        some = np.arange(len(scores)) if models is None else models
        if name == "advantage":
            return self.advantage(scores, members, some, source)
        return self.curve(scores, members, some, FPRS)[PAIRED.index(name) - 1]

    def top_precision(self, scores: Floats, members: Bools, share: float) -> Draws:
        """Returns what part of the highest scores of all models are members'.

        Args:
            scores: `(M, n)`.
            members: `(M, n)`.
            share: What part of all scores counts as the highest, with all that tie with the last
                of them. The threshold is the sample's, in every replicate.
        """
        ranked = np.sort(scores, axis=None)[::-1]
        named = scores >= ranked[max(1, round(share * ranked.size)) - 1]
        counts = [
            [np.count_nonzero(cells, axis=1 - axis) @ weights for cells in (named & members, named)]
            for axis, weights in enumerate((self._models, self._examples))
        ]
        # A replicate without any of these examples takes the sample's.
        return Draws(
            *(
                np.where(all_ > 0, found / np.maximum(all_, 1), found[0] / all_[0])
                for found, all_ in counts
            )
        )


def interval(
    draws: Draws, *, models: int, examples: int, lowest: float = -1.0, highest: float = 1.0
) -> Interval:
    """Returns the 95 % interval of a statistic over new models of the pool and new examples.

    Args:
        draws: The statistic and its replicates.
        models: How many models were resampled.
        examples: How many examples were resampled.
        lowest: Smallest value it can take.
        highest: Largest value it can take.
    """
    spread = deviations(draws.models, models), deviations(draws.examples, examples)
    return crossed_interval(draws.value, *spread, lowest=lowest, highest=highest)


def standard_error(draws: Draws, *, models: int, examples: int) -> float:
    """Returns the standard error of a statistic over new models and new examples.

    Args:
        draws: The statistic and its replicates.
        models: How many models were resampled.
        examples: How many examples were resampled.
    """
    return float(
        np.hypot(deviations(draws.models, models).std(), deviations(draws.examples, examples).std())
    )


def resolvable(metric: str, members: Bools) -> bool:
    """Tells whether bits `(m, n)` are enough for a metric: 1 / FPR non-members, some members."""
    outside = np.count_nonzero(~members)
    least = next((1 / fpr for fpr in FPRS if metric == f"tpr_at_fpr_{fpr:g}"), 1.0)
    return bool(outside >= least - 1e-9 and outside < members.size)


def simultaneous(family: Sequence[Draws], *, models: int, examples: int) -> tuple[Interval, ...]:
    """Returns intervals that cover all statistics of a family at once, in 95 % of studies.

    Each is as many standard errors wide as the largest of the family's deviations, in standard
    errors, seldom exceeds (max-t; Westfall & Young 1993). Statistics that hardly vary on their own
    hardly widen it.
    """
    axes = (("models", models), ("examples", examples))
    spread = [
        np.stack([deviations(getattr(draws, axis), units) for draws in family])
        for axis, units in axes
    ]
    sums = spread[0][:, :, None] + spread[1][:, None, :]
    sums = sums.reshape(len(family), -1)
    error = sums.std(axis=1)
    # Statistics without any spread have no say in the width of the others.
    ratios = np.abs(sums) / np.where(error > 0, error, np.inf)[:, None]
    width = np.quantile(ratios.max(axis=0), 0.95) * error
    return tuple(
        Interval(draws.value, max(-1.0, draws.value - half), min(1.0, draws.value + half))
        for draws, half in zip(family, width, strict=True)
    )


def models_needed(difference: Draws, *, models: int, examples: int) -> float:
    """Returns how many models would tell such a difference from 0, four times in five.

    The variance that comes from models shrinks with their number; that from examples would take a
    larger pool. Infinite if no number of models is enough.
    """
    noise = deviations(difference.models, models).var()
    fixed = deviations(difference.examples, examples).var()
    left = (difference.value / (ndtri(0.975) + ndtri(0.8))) ** 2 - fixed
    return float(models * noise / left) if left > 0 else float("inf")
