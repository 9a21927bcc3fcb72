"""One attack's scores, turned into the numbers of a row, each with its interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.metrics.example_fpr import margins, rank_margins
from dpbench.metrics.examples import most_exposed, top_advantage
from dpbench.metrics.intervals import (
    Interval,
    columns,
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
    guessed_at,
    precision_at,
    rank,
    resolves,
    roc_of_ranking,
    tpr_at,
)
from dpbench.metrics.shadow_rates import ShadowRates, shadow_counts, shadow_rates
from dpbench.metrics.strength import FPRS as FPRS
from dpbench.metrics.thresholds import Called, advantage_of, best_decisions, decide, fold_curves
from dpbench.metrics.violation import RowEvidence, moments


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How well an attack tells members from non-members.

    Attributes:
        advantage: TPR - FPR, with thresholds chosen on other models.
        auc: Area under the pooled ROC curve.
        balanced_accuracy: (1 + advantage) / 2.
        tpr_at_fpr_0_01: Largest TPR with an FPR of at most 1 %; NaN if not resolvable. The auditor
            reads it off the reported scores themselves, and so are the next two.
        tpr_at_fpr_0_001: The same at 0.1 %.
        precision_at_fpr_0_01: TPR / (TPR + FPR) at the point of `tpr_at_fpr_0_01`.
        shadow_rates: What an adversary reaches, whose thresholds for an FPR of 1 % and 0.1 % come
            from other models.
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
    shadow_rates: tuple[ShadowRates, ...]
    epsilon_lower: float
    tpr_at_example_fpr_0_01: Interval
    realised_example_fpr_0_01: float
    advantage_top_0_01: Interval
    evidence: RowEvidence
    notes: tuple[str, ...]

    def row(self) -> dict[str, float]:
        """Returns the columns of the attacks table."""
        return {
            **columns("advantage", self.advantage),
            **columns("auc", self.auc),
            **columns("balanced_accuracy", self.balanced_accuracy),
            **columns("tpr_at_fpr_0.01", self.tpr_at_fpr_0_01),
            **columns("tpr_at_fpr_0.001", self.tpr_at_fpr_0_001),
            "precision_at_fpr_0.01": self.precision_at_fpr_0_01,
            "epsilon_lower": self.epsilon_lower,
            **columns("tpr_at_example_fpr_0.01", self.tpr_at_example_fpr_0_01),
            "realised_example_fpr_0.01": self.realised_example_fpr_0_01,
            **columns("advantage_top_0.01", self.advantage_top_0_01),
            **{name: value for rates in self.shadow_rates for name, value in rates.row().items()},
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
    and TPR at low FPR come from the pooled ROC curve; `shadow_rates` use thresholds of the other
    fold. Equal scores are guessed at random. See `intervals` for what the intervals cover.

    Args:
        scores: `(M, n)`, higher means more likely a member; infinities are allowed.
        members: `(M, n)` the bits.
        source_scores: `(M', n)` scores on which thresholds and the most exposed examples are
            chosen; by default `scores`. A static attacker tunes on the undefended models. Where
            scores use the bits of other models, these must use the bits of their own fold alone
            (`thresholds`): with the default, a threshold would know the bits that it decides on.
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
    chosen = np.arange(len(scores)) if models is None else np.asarray(models, dtype=np.int64)
    # Tables of a gigabyte: a slice is none of its own, and nothing lives longer than it must.
    some = slice(None) if models is None else chosen
    shown, bits = scores[some], members[some]
    if bits.all() or not bits.any():
        raise ValueError("the reported models have no members or no non-members")
    # A threshold for each example is chosen from the other models' scores of that example. Where
    # those scores know the target's bit, the threshold would know it, too.
    comparable = not uses_other_bits and bool(np.isfinite(scores).all())
    own = rank_margins(margins(scores, members)[some], bits) if comparable else None
    ranking = rank(*source)
    curves = fold_curves(ranking, source[0].shape[1])
    exposed = _exposed(*source, curves)
    if models is not None or source[0] is not scores or source[1] is not members:
        del ranking
        ranking = rank(shown, bits)
    decisions = decide(shown, chosen, curves)
    shadow = shadow_counts(shown, bits, chosen, curves, FPRS)
    reported = _Reported(ranking, _pooled(ranking), own, decisions, bits, shadow)
    intervals = _intervals(reported, replicates, rng)
    top = top_advantage(
        decisions, bits, models=chosen, exposed=exposed, rng=rng, replicates=replicates
    )
    guesses = epsilon_lower(
        ranking, examples=scores.shape[1], delta=delta, uses_other_bits=uses_other_bits
    )
    evidence = RowEvidence(moments(shown, bits, chosen, curves, FPRS), guesses)
    return _evaluation(reported, intervals, top, evidence)


def _exposed(
    source: Floats, members: Bools, curves: tuple[Roc, Roc]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns the examples that even models, and odd ones, find most exposed, as weights."""
    decisions = best_decisions(source, curves)
    even, odd = (most_exposed(decisions[fold::2], members[fold::2]) for fold in (0, 1))
    return even, odd


class _Pooled(NamedTuple):
    """What is said of the pooled curve, which itself is larger than the scores."""

    values: tuple[float, ...]
    precision: float
    notes: tuple[str, ...]


class _Reported(NamedTuple):
    """The reported models: scores, and margins over the examples' own; decisions and bits.

    `shadow` counts who is called at the other fold's thresholds, for each FPR; None where that fold
    cannot resolve it.
    """

    ranking: Ranking
    pooled: _Pooled
    own: tuple[Ranking, Roc] | None
    decisions: Bools
    members: Bools
    shadow: tuple[Called | None, ...]


def _pooled(ranking: Ranking) -> _Pooled:
    """Returns the AUC and the TPRs, and what else comes from the pooled curve."""
    curve = roc_of_ranking(ranking)
    notes = ["constant score"] if curve.thresholds.size == 2 else []
    notes += [f"TPR at FPR {fpr:g} is not resolvable" for fpr in FPRS if not resolves(curve, fpr)]
    notes += [note for fpr in FPRS if (note := _guessed(curve, fpr))]
    values = (auc(curve), *(tpr_at(curve, fpr) for fpr in FPRS))
    return _Pooled(values, precision_at(curve, FPRS[0]), tuple(notes))


def _guessed(curve: Roc, fpr: float) -> str:
    """Says so where most of a rate is guessed among equal scores."""
    guesses = guessed_at(curve, fpr)
    if guesses.share <= 0.5 or curve.thresholds.size == 2:
        return ""
    return f"TPR at FPR {fpr:g} is mostly guessed: {guesses.tied} scores tie there"


def _evaluation(
    reported: _Reported, intervals: list[Interval], top: Interval, evidence: RowEvidence
) -> Evaluation:
    advantage, own = intervals[0], reported.own
    return Evaluation(
        advantage=advantage,
        auc=intervals[1],
        # (TPR + 1 - FPR) / 2 is half of one more than the advantage, limits included.
        balanced_accuracy=Interval(*((1 + bound) / 2 for bound in advantage)),
        tpr_at_fpr_0_01=intervals[2],
        tpr_at_fpr_0_001=intervals[3],
        precision_at_fpr_0_01=reported.pooled.precision,
        shadow_rates=tuple(
            shadow_rates(fpr, counts, reported.members, interval)
            for fpr, counts, interval in zip(FPRS, reported.shadow, intervals[5:], strict=True)
        ),
        epsilon_lower=evidence.guesses.epsilon,
        tpr_at_example_fpr_0_01=intervals[4],
        realised_example_fpr_0_01=math.nan if own is None else fpr_at(own[1], FPRS[0]),
        advantage_top_0_01=top,
        evidence=evidence,
        notes=reported.pooled.notes,
    )


def _intervals(reported: _Reported, replicates: int, rng: np.random.Generator) -> list[Interval]:
    """Returns advantage, AUC, the pooled TPRs, the TPR at own thresholds and those at shadows'."""
    decisions, members, own = reported.decisions, reported.members, reported.own
    gap = advantage_of(decisions, members)
    values = [gap, *reported.pooled.values]
    values.append(math.nan if own is None else tpr_at(own[1], FPRS[0]))
    positives = np.count_nonzero(members)
    values += [
        math.nan if c is None else float(c.found[0].sum() / positives) for c in reported.shadow
    ]
    bins = Bins(reported.ranking)
    spread = [_axis_deviations(bins, reported, axis, replicates, rng) for axis in (0, 1)]
    return [
        Interval(math.nan, math.nan, math.nan)
        if math.isnan(value)
        else crossed_interval(value, *pair, lowest=lowest)
        for value, *pair, lowest in zip(values, *spread, (-1.0, *[0.0] * 6), strict=True)
    ]


def _axis_deviations(
    bins: Bins, reported: _Reported, axis: int, replicates: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Returns deviations `(7, replicates)` of the values of `_intervals`, resampling one axis."""
    decisions, members = reported.decisions, reported.members
    count = members.shape[axis]
    weights = resampling_weights(count, replicates, rng)
    index = units(members.shape, axis)
    curves = bins.statistics(index, weights, FPRS)
    counts = decided(decisions, members, axis, weights)
    own: Floats = np.zeros(weights.shape[1])
    if reported.own is not None and reported.own[0].order.size:
        above, sides = Bins(reported.own[0], fine=1.0), (counts.positives, counts.negatives)
        own = above.found(index, weights, FPRS[0], *sides) / counts.positives
    shadow = [
        0 * own if called is None else called.found[axis] @ weights / counts.positives
        for called in reported.shadow
    ]
    rows = (counts.advantage, *curves, own, *shadow)
    return np.stack([deviations(statistic, count) for statistic in rows])


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
