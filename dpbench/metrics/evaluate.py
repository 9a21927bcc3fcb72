"""One attack's scores, turned into the numbers of a row, each with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dpbench.metrics.intervals import (
    Interval,
    crossed_interval,
    deviations,
    resampling_weights,
)
from dpbench.metrics.lower_bound import epsilon_lower
from dpbench.metrics.replicates import Bins
from dpbench.metrics.roc import (
    Bools,
    Floats,
    Ranking,
    auc,
    precision_at,
    rank,
    resolves,
    roc_of_ranking,
    tpr_at,
)
from dpbench.metrics.thresholds import decide, fold_curves

FPRS = (0.01, 0.001)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well an attack tells members from non-members.

    Attributes:
        advantage: TPR - FPR, with thresholds chosen on other models.
        auc: Area under the pooled ROC curve.
        balanced_accuracy: (1 + advantage) / 2.
        tpr_at_fpr_0_01: Largest TPR with an FPR of at most 1 %; NaN if not resolvable.
        tpr_at_fpr_0_001: The same at 0.1 %.
        precision_at_fpr_0_01: TPR / (TPR + FPR) at the vertex of `tpr_at_fpr_0_01`.
        epsilon_lower: 95 % lower bound on epsilon.
        notes: What a reader of the row must know.
    """

    advantage: Interval
    auc: Interval
    balanced_accuracy: Interval
    tpr_at_fpr_0_01: Interval
    tpr_at_fpr_0_001: Interval
    precision_at_fpr_0_01: float
    epsilon_lower: float
    notes: tuple[str, ...]

    def row(self) -> dict[str, float]:
        """Returns the columns of the attacks table."""
        columns = {
            "advantage": self.advantage,
            "auc": self.auc,
            "balanced_accuracy": self.balanced_accuracy,
            "tpr_at_fpr_0.01": self.tpr_at_fpr_0_01,
            "tpr_at_fpr_0.001": self.tpr_at_fpr_0_001,
        }
        row: dict[str, float] = {}
        for name, interval in columns.items():
            row |= {
                name: interval.value,
                f"{name}_low": interval.low,
                f"{name}_high": interval.high,
            }
        row["precision_at_fpr_0.01"] = self.precision_at_fpr_0_01
        row["epsilon_lower"] = self.epsilon_lower
        return row


def evaluate(
    scores: Floats,
    members: Bools,
    *,
    source_scores: Floats | None = None,
    source_members: Bools | None = None,
    delta: float = 0.0,
    rng: np.random.Generator,
    replicates: int = 200,
    models: Sequence[int] | NDArray[np.integer] | None = None,
) -> Evaluation:
    """Evaluates one attack on M models that were trained on subsets of the same n examples.

    Advantage and balanced accuracy use, for each model, the threshold that is best on the models of
    the other fold (even or odd) of the source, and pool the decisions of all reported models. AUC
    and TPR at low FPR come from the pooled ROC curve. See `intervals` for what the intervals cover.

    Args:
        scores: `(M, n)`, higher means more likely a member; infinities are allowed.
        members: `(M, n)` the bits.
        source_scores: `(M', n)` scores on which thresholds are chosen; by default `scores` (an
            adaptive attacker). A static attacker tunes on the undefended models.
        source_members: Bits of the source; by default `members`.
        delta: The delta at which epsilon is bounded.
        rng: Draws the replicates.
        replicates: Bootstrap replicates for models, and as many for examples.
        models: Numbers of the models to report; all by default.

    Raises:
        ValueError: Shapes differ, a score is NaN, there are fewer than two models, or some fold
            lacks members or non-members.
    """
    source = (
        scores if source_scores is None else source_scores,
        members if source_members is None else source_members,
    )
    _require_scored(scores, members)
    _require_scored(*source)
    chosen = np.arange(len(scores)) if models is None else np.asarray(models, dtype=np.int64)
    curves = fold_curves(*source)
    if models is not None:
        scores, members = scores[chosen], members[chosen]
    if members.all() or not members.any():
        raise ValueError("the reported models have no members or no non-members")
    decisions = decide(scores, chosen, curves)
    limit = epsilon_lower(
        scores, members, models=chosen, curves=curves, selection=source, delta=delta
    )
    return _evaluation(rank(scores, members), decisions, members, limit, replicates, rng)


def _evaluation(
    ranking: Ranking,
    decisions: Bools,
    members: Bools,
    limit: float,
    replicates: int,
    rng: np.random.Generator,
) -> Evaluation:
    curve = roc_of_ranking(ranking)
    gap = float(decisions[members].mean() - decisions[~members].mean())
    values = np.array([gap, auc(curve), *(tpr_at(curve, fpr) for fpr in FPRS)])
    bins = Bins(ranking)
    spread = [_axis_deviations(bins, decisions, members, axis, replicates, rng) for axis in (0, 1)]
    intervals = [
        Interval(math.nan, math.nan, math.nan)
        if math.isnan(value)
        else crossed_interval(float(value), *pair, lowest=lowest)
        for value, *pair, lowest in zip(values, *spread, (-1.0, 0.0, 0.0, 0.0), strict=True)
    ]
    notes = ["constant score"] if curve.thresholds.size == 2 else []
    notes += [f"TPR at FPR {fpr:g} is not resolvable" for fpr in FPRS if not resolves(curve, fpr)]
    return Evaluation(
        advantage=intervals[0],
        auc=intervals[1],
        balanced_accuracy=Interval(*((1 + bound) / 2 for bound in intervals[0])),
        tpr_at_fpr_0_01=intervals[2],
        tpr_at_fpr_0_001=intervals[3],
        precision_at_fpr_0_01=precision_at(curve, FPRS[0]),
        epsilon_lower=limit,
        notes=tuple(notes),
    )


def _axis_deviations(
    bins: Bins,
    decisions: Bools,
    members: Bools,
    axis: int,
    replicates: int,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Returns deviations `(4, replicates)` of advantage, AUC and both TPRs, resampling one axis."""
    units = members.shape[axis]
    weights = resampling_weights(units, replicates, rng)
    # The model, or the example, of each flattened score.
    index = np.broadcast_to(np.expand_dims(np.arange(units), 1 - axis), members.shape).ravel()
    curves = bins.statistics(index, weights, FPRS)
    found, positives, wrong, negatives = (
        np.count_nonzero(cells, axis=1 - axis) @ weights
        for cells in (decisions & members, members, decisions & ~members, ~members)
    )
    gap = found / np.maximum(positives, 1) - wrong / np.maximum(negatives, 1)
    return np.stack([deviations(statistic, units) for statistic in (gap, *curves)])


def _require_scored(scores: Floats, members: Bools) -> None:
    if scores.ndim != 2 or scores.shape != members.shape:
        raise ValueError(f"scores {scores.shape} and members {members.shape} must be (M, n) alike")
    if members.dtype != np.bool_:
        raise ValueError(f"members must be bool, not {members.dtype}")
    if np.isnan(scores).any():
        raise ValueError(f"{np.count_nonzero(np.isnan(scores))} scores are NaN")
    for fold in (members[0::2], members[1::2]):
        if fold.all() or not fold.any():
            raise ValueError("the even or the odd models have no members or no non-members")
