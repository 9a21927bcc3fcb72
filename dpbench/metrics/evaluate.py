"""One attack's scores, turned into the numbers of a row, each with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.metrics.example_fpr import margins, rank_margins
from dpbench.metrics.examples import top_advantage
from dpbench.metrics.intervals import (
    Interval,
    crossed_interval,
    deviations,
    resampling_weights,
)
from dpbench.metrics.lower_bound import epsilon_lower
from dpbench.metrics.replicates import Bins, decided, units
from dpbench.metrics.roc import (
    Bools,
    Floats,
    Ranking,
    Roc,
    auc,
    fpr_at,
    precision_at,
    rank,
    resolves,
    roc_of_ranking,
    tpr_at,
)
from dpbench.metrics.thresholds import decide, fold_curves
from dpbench.metrics.violation import Evidence, moments

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
        tpr_at_example_fpr_0_01: TPR at thresholds of each example's own, whose FPR is at most 1 %
            over all and 1 / (k + 1) in an example that k other models are without (`margins`); NaN
            if not resolvable, a score is infinite, or the scores of a model use other models' bits.
        realised_example_fpr_0_01: The FPR at those thresholds, lower where few scores differ.
        advantage_top_0_01: Advantage on the most exposed 1 % of the examples, chosen on other
            models.
        evidence: What a test of the cell's claim uses (`violation`).
        notes: What a reader of the row must know.
    """

    advantage: Interval
    auc: Interval
    balanced_accuracy: Interval
    tpr_at_fpr_0_01: Interval
    tpr_at_fpr_0_001: Interval
    precision_at_fpr_0_01: float
    epsilon_lower: float
    tpr_at_example_fpr_0_01: Interval
    realised_example_fpr_0_01: float
    advantage_top_0_01: Interval
    evidence: Evidence
    notes: tuple[str, ...]

    def row(self) -> dict[str, float]:
        """Returns the columns of the attacks table."""
        return {
            **_columns("advantage", self.advantage),
            **_columns("auc", self.auc),
            **_columns("balanced_accuracy", self.balanced_accuracy),
            **_columns("tpr_at_fpr_0.01", self.tpr_at_fpr_0_01),
            **_columns("tpr_at_fpr_0.001", self.tpr_at_fpr_0_001),
            "precision_at_fpr_0.01": self.precision_at_fpr_0_01,
            "epsilon_lower": self.epsilon_lower,
            **_columns("tpr_at_example_fpr_0.01", self.tpr_at_example_fpr_0_01),
            "realised_example_fpr_0.01": self.realised_example_fpr_0_01,
            **_columns("advantage_top_0.01", self.advantage_top_0_01),
        }


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
    uses_other_bits: bool = True,
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
        uses_other_bits: Whether a model's scores may depend on the bits of the others, as with
            leave-one-out shadows. If not, epsilon needs no allowance for that, and each example can
            have a threshold of its own.

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
    everyone = np.arange(len(scores))
    chosen = everyone if models is None else np.asarray(models, dtype=np.int64)
    # Tables of a gigabyte: a slice is none of its own, and nothing lives longer than it must.
    some = slice(None) if models is None else chosen
    bits = members[some]
    if bits.all() or not bits.any():
        raise ValueError("the reported models have no members or no non-members")
    comparable = not uses_other_bits and bool(np.isfinite(scores).all())
    own = rank_margins(margins(scores, members)[some], bits) if comparable else None
    ranking = rank(*source)
    curves = fold_curves(ranking, source[0].shape[1])
    decisions = decide(scores, everyone, curves)
    rates = moments(scores[some], bits, chosen, curves, FPRS)
    del curves
    if models is not None or source[0] is not scores or source[1] is not members:
        del ranking
        ranking = rank(scores[some], bits)
    reported = _Reported(
        ranking=ranking,
        pooled=_pooled(ranking),
        own=own,
        decisions=decisions[some],
        members=bits,
    )
    return _evaluation(
        reported,
        _intervals(reported, replicates, rng),
        top_advantage(decisions, members, models=chosen, rng=rng, replicates=replicates),
        Evidence(
            rates,
            epsilon_lower(
                reported.ranking,
                examples=scores.shape[1],
                delta=delta,
                uses_other_bits=uses_other_bits,
            ),
        ),
    )


class _Pooled(NamedTuple):
    """What is said of the pooled curve, which itself is larger than the scores."""

    values: tuple[float, ...]
    precision: float
    notes: tuple[str, ...]


class _Reported(NamedTuple):
    """The reported models: scores, and margins over the examples' own; decisions and bits."""

    ranking: Ranking
    pooled: _Pooled
    own: tuple[Ranking, Roc] | None
    decisions: Bools
    members: Bools


def _pooled(ranking: Ranking) -> _Pooled:
    """Returns the AUC and the TPRs, and what else comes from the pooled curve."""
    curve = roc_of_ranking(ranking)
    notes = ["constant score"] if curve.thresholds.size == 2 else []
    notes += [f"TPR at FPR {fpr:g} is not resolvable" for fpr in FPRS if not resolves(curve, fpr)]
    values = (auc(curve), *(tpr_at(curve, fpr) for fpr in FPRS))
    return _Pooled(values, precision_at(curve, FPRS[0]), tuple(notes))


def _evaluation(
    reported: _Reported, intervals: list[Interval], top: Interval, evidence: Evidence
) -> Evaluation:
    advantage, own = intervals[0], reported.own
    return Evaluation(
        advantage=advantage,
        auc=intervals[1],
        balanced_accuracy=Interval(*((1 + bound) / 2 for bound in advantage)),
        tpr_at_fpr_0_01=intervals[2],
        tpr_at_fpr_0_001=intervals[3],
        precision_at_fpr_0_01=reported.pooled.precision,
        epsilon_lower=evidence.guesses.epsilon,
        tpr_at_example_fpr_0_01=intervals[4],
        realised_example_fpr_0_01=math.nan if own is None else fpr_at(own[1], FPRS[0]),
        advantage_top_0_01=top,
        evidence=evidence,
        notes=reported.pooled.notes,
    )


def _intervals(reported: _Reported, replicates: int, rng: np.random.Generator) -> list[Interval]:
    """Returns advantage, AUC, the pooled TPRs and the TPR at own thresholds, with limits."""
    decisions, members, own = reported.decisions, reported.members, reported.own
    gap = float(decisions[members].mean() - decisions[~members].mean())
    values = [gap, *reported.pooled.values]
    values.append(math.nan if own is None else tpr_at(own[1], FPRS[0]))
    bins = Bins(reported.ranking)
    spread = [_axis_deviations(bins, reported, axis, replicates, rng) for axis in (0, 1)]
    return [
        Interval(math.nan, math.nan, math.nan)
        if math.isnan(value)
        else crossed_interval(value, *pair, lowest=lowest)
        for value, *pair, lowest in zip(values, *spread, (-1.0, 0.0, 0.0, 0.0, 0.0), strict=True)
    ]


def _axis_deviations(
    bins: Bins, reported: _Reported, axis: int, replicates: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Returns deviations `(5, replicates)` of the values of `_intervals`, resampling one axis."""
    decisions, members = reported.decisions, reported.members
    count = members.shape[axis]
    weights = resampling_weights(count, replicates, rng)
    index = units(members.shape, axis)
    curves = bins.statistics(index, weights, FPRS)
    counts = decided(decisions, members, axis, weights)
    own: Floats = np.zeros(weights.shape[1])
    if reported.own is not None and reported.own[0].order.size:
        above = Bins(reported.own[0], fine=1.0)
        own = above.found(index, weights, FPRS[0] * counts.negatives) / counts.positives
    rows = (counts.advantage, *curves, own)
    return np.stack([deviations(statistic, count) for statistic in rows])


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


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
