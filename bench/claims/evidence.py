"""Numbers with intervals, differences of numbers on the same bits, and what they say of a claim."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.arrays import Bools as Bools
from dpbench.arrays import Floats as Floats
from dpbench.metrics import Interval, roc, tpr_at
from dpbench.metrics.intervals import crossed_interval, deviations, resampling_weights
from dpbench.metrics.replicates import Bins
from dpbench.metrics.roc import auc, rank
from dpbench.metrics.thresholds import decide, fold_curves
from dpbench.seeds import rng_for
from dpbench.study.run import Run

HOLDS, FAILS, OPEN = "holds", "fails", "not resolvable"
REPLICATES = 200
ACCURACY, AUC, TPR1, TPR01, TOP = "accuracy", "AUC", "TPR@1%", "TPR@0.1%", "precision of the top 1%"


class Line(NamedTuple):
    """One claim on one data set.

    Attributes:
        claim: Its number.
        statement: What it says.
        data: Where it was checked.
        numbers: What was measured.
        verdict: `holds`, `fails` or `not resolvable`.
    """

    claim: float
    statement: str
    data: str
    numbers: str
    verdict: str


class Estimate(NamedTuple):
    """A number and its deviations when models, and when examples, are drawn anew.

    The same draws serve every table of the same size, so that differences are paired.
    `is_share` marks a number between 0 and 1, whose limits are too.
    """

    value: float
    models: NDArray[np.float64]
    examples: NDArray[np.float64]
    is_share: bool = False

    @property
    def interval(self) -> Interval:
        """Its 95 % interval, for new models and new examples."""
        lowest, highest = (0.0, 1.0) if self.is_share else (-math.inf, math.inf)
        return crossed_interval(
            self.value, self.models, self.examples, lowest=lowest, highest=highest
        )

    def __str__(self) -> str:
        """The number and its limits."""
        value, low, high = self.interval
        return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def total(*terms: tuple[float, Estimate]) -> Estimate:
    """Returns a sum of estimates with factors, paired draw by draw."""
    factors = [factor for factor, _ in terms]
    columns = zip(*(estimate[:3] for _, estimate in terms), strict=True)
    value, models, examples = (
        sum(factor * part for factor, part in zip(factors, column, strict=True))
        for column in columns
    )
    return Estimate(value, models, examples)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """Returns first minus second."""
    return total((1, first), (-1, second))


def apart(first: Interval, second: Interval) -> Interval:
    """Returns first minus second where both come from independent models and examples."""
    (a, a_low, a_high), (b, b_low, b_high) = first, second
    return Interval(
        a - b, a - b - math.hypot(a - a_low, b_high - b), a - b + math.hypot(a_high - a, b - b_low)
    )


def at_least(interval: Interval, least: float = 0.0) -> str:
    """Returns whether a number is at least `least`: the whole interval, or none of it."""
    if interval.low >= least:
        return HOLDS
    return FAILS if interval.high < least else OPEN


def within(interval: Interval, margin: float) -> str:
    """Returns whether a difference is smaller than a margin to both sides."""
    if -margin <= interval.low and interval.high <= margin:
        return HOLDS
    return FAILS if interval.low > margin or interval.high < -margin else OPEN


def all_of(*verdicts: str) -> str:
    """Returns the verdict of a claim that says all of these."""
    return next((verdict for verdict in (FAILS, OPEN) if verdict in verdicts), HOLDS)


@dataclass(frozen=True, eq=False)
class Table:
    """One attack's scores `(M, n)` and the bits, of which every metric is measured once."""

    scores: Floats
    members: Bools

    def __getitem__(self, metric: str) -> Estimate:
        """Returns one of the metrics above."""
        return self._metrics[metric]

    @cached_property
    def _metrics(self) -> dict[str, Estimate]:
        return estimates(self.scores, self.members)


@cache
def table(run: Run, cell: str, attack: str, knowledge: str = "adaptive", **fields: Any) -> Table:
    """Returns the scores of the first attack of that name whose parameters agree with `fields`."""
    rows = run.attacks
    rows = rows[
        (rows["cell"] == cell) & (rows["attack"] == attack) & (rows["knowledge"] == knowledge)
    ]
    for params in rows["attack_params"]:
        if fields.items() <= json.loads(params).items():
            scores, members = run.scores(cell, attack, knowledge, params)
            return Table(scores.astype(np.float64), members)
    raise KeyError(f"{run.name}: no {attack} {fields} on {cell} ({knowledge})")


def estimates(scores: Floats, members: Bools) -> dict[str, Estimate]:
    """Returns every metric of scores `(M, n)`.

    Accuracy uses, for each model, the threshold that is best on the other half of the models.
    """
    curve, ranking = roc(scores, members), rank(scores, members)
    folds = fold_curves(ranking, scores.shape[1])
    guesses = decide(scores, np.arange(len(scores)), folds)
    top = scores >= ranking.scores[scores.size // 100]
    values = {
        ACCURACY: _accuracy(*_counts(guesses, members)),
        AUC: auc(curve),
        TPR1: tpr_at(curve, 0.01),
        TPR01: tpr_at(curve, 0.001),
        TOP: _precision(*_counts(top, members)),
    }
    bins = Bins(ranking)
    axes = [_axis(bins, guesses, top, members, axis) for axis in (0, 1)]
    return {
        metric: Estimate(value, axes[0][metric], axes[1][metric], is_share=True)
        for metric, value in values.items()
    }


def _axis(
    bins: Bins, guesses: Bools, top: Bools, members: Bools, axis: int
) -> dict[str, NDArray[np.float64]]:
    """Returns each metric's deviations `(R,)` when one axis is drawn anew."""
    units = members.shape[axis]
    weights = resampling_weights(units, REPLICATES, rng_for(0, "claims", axis))
    index = np.broadcast_to(np.expand_dims(np.arange(units), 1 - axis), members.shape).ravel()
    area, tpr1, tpr01 = bins.statistics(index, weights, (0.01, 0.001))

    def resampled(chosen: Bools, metric: Callable[..., Floats]) -> Floats:
        cells = _cells(chosen, members)
        return metric(*(np.count_nonzero(cell, axis=1 - axis) @ weights for cell in cells))

    rows = {
        ACCURACY: resampled(guesses, _accuracy),
        AUC: area,
        TPR1: tpr1,
        TPR01: tpr01,
        TOP: resampled(top, _precision),
    }
    return {metric: deviations(row, units) for metric, row in rows.items()}


def _cells(chosen: Bools, members: Bools) -> tuple[Bools, Bools, Bools, Bools]:
    return chosen & members, ~chosen & members, chosen & ~members, ~chosen & ~members


def _counts(chosen: Bools, members: Bools) -> tuple[int, int, int, int]:
    found, missed, wrong, right = (int(cell.sum()) for cell in _cells(chosen, members))
    return found, missed, wrong, right


def _accuracy(found: Any, missed: Any, wrong: Any, right: Any) -> Any:
    return (found / np.maximum(found + missed, 1) + right / np.maximum(wrong + right, 1)) / 2


def _precision(found: Any, missed: Any, wrong: Any, right: Any) -> Any:
    """The share of members among those chosen, as if half of all were members."""
    tpr, fpr = found / np.maximum(found + missed, 1), wrong / np.maximum(wrong + right, 1)
    return tpr / np.maximum(tpr + fpr, 1e-12)
