"""The metrics of `dpbench audit`: how well scores tell members apart, with intervals."""

import math

import numpy as np
from numpy.typing import NDArray

from dpbench import metrics
from dpbench.audit.reading import Shadows
from dpbench.audit.rows import AuditRow
from dpbench.errors import UserError
from dpbench.metrics.evaluate import FPRS
from dpbench.metrics.intervals import Interval, crossed_interval, deviations, resampling_weights
from dpbench.metrics.replicates import Bins
from dpbench.metrics.roc import Bools, Floats, rank
from dpbench.metrics.thresholds import best_threshold
from dpbench.privacy.audits.coins import require_fair
from dpbench.privacy.audits.score_file import ScoreFile
from dpbench.seeds import rng_for

NAMES = ("advantage", "AUC", "TPR at FPR 1 %", "TPR at FPR 0.1 %")
BALANCED = "balanced accuracy"
ALL_MODELS = "one-run, all models (epsilon_lower of a run)"
FEWEST_MODELS = 4

_LOWEST = (-1.0, 0.0, 0.0, 0.0)
_BLOCKS, _REPLICATES = 20, 20


def pair_metrics(data: ScoreFile, *, covers: str, seed: int = 0) -> list[AuditRow]:
    """Returns metrics whose intervals resample pairs (score, bit), as if independent.

    The threshold of advantage and balanced accuracy is chosen, for each half of the pairs, on the
    other half.

    Args:
        data: Scores of any shape.
        covers: What the intervals cover, in words.
        seed: For the halves and the replicates.
    """
    rng = rng_for(seed, "audit metrics")
    scores, members = data.scores.ravel(), data.members.ravel()
    curve, called = metrics.roc(scores, members), _decisions(scores, members, rng)
    values = [
        float(called[members].mean() - called[~members].mean()),
        metrics.auc(curve),
        *(metrics.tpr_at(curve, fpr) for fpr in FPRS),
    ]
    replicated = _replicates(scores, members, called, rng)
    intervals = [
        crossed_interval(value, deviations(one, scores.size), np.zeros(1), lowest=lowest)
        for value, one, lowest in zip(values, replicated, _LOWEST, strict=True)
    ]
    return _rows(dict(zip(NAMES, intervals, strict=True)), f"{covers}; bootstrap over pairs")


def table_metrics(data: ScoreFile, *, shadows: Shadows, seed: int = 0) -> list[AuditRow]:
    """Returns the metrics of M models, as in a run's table, and its lower bound on epsilon."""
    rng = rng_for(seed, "audit metrics")
    try:
        found = metrics.evaluate(
            data.scores,
            data.members,
            delta=data.delta,
            rng=rng,
            uses_other_bits=shadows == "leave-one-out",
        )
    except ValueError as error:
        return [
            AuditRow(kind="metric", name=name, reason=str(error)) for name in (*NAMES, BALANCED)
        ]
    intervals = (found.advantage, found.auc, found.tpr_at_fpr_0_01, found.tpr_at_fpr_0_001)
    assumes = "models are independent, bits were independent fair coins"
    if shadows == "leave-one-out":
        assumes += "; dependence through shared shadows is measured (approximate)"
    covers = "covers new models of the same pool and new examples like these"
    try:
        require_fair(data.members)
        bound = AuditRow(
            kind="epsilon", name=ALL_MODELS, value=found.epsilon_lower, assumes=assumes
        )
    except UserError as error:
        bound = AuditRow(kind="epsilon", name=ALL_MODELS, reason=str(error).partition("\n")[0])
        covers += "; the bits are no fair coins, so scores may know them from the other models"
    named = dict(zip(NAMES, intervals, strict=True))
    return [*_rows(named, covers), bound]


def _rows(intervals: dict[str, Interval], assumes: str) -> list[AuditRow]:
    half = Interval(*((1 + limit) / 2 for limit in intervals["advantage"]))
    rows = []
    for name, interval in {**intervals, BALANCED: half}.items():
        if math.isnan(interval.value):
            reason = "not resolvable: fewer non-members than one over the FPR"
            rows.append(AuditRow(kind="metric", name=name, reason=reason))
            continue
        value, low, high = (float(limit) for limit in interval)
        rows.append(
            AuditRow(kind="metric", name=name, value=value, low=low, high=high, assumes=assumes)
        )
    return rows


def _decisions(scores: Floats, members: Bools, rng: np.random.Generator) -> Bools:
    """Returns for each pair whether it is called a member, by the threshold of the other half."""
    # Each half gets half of either kind, so that both can choose wherever that is possible.
    order = np.concatenate([rng.permutation(np.flatnonzero(members == bit)) for bit in (0, 1)])
    first = np.zeros(scores.size, dtype=np.bool_)
    first[order[::2]] = True
    called = np.zeros(scores.size, dtype=np.bool_)
    for half in (first, ~first):
        threshold = best_threshold(metrics.roc(scores[~half], members[~half]))
        called[half] = scores[half] >= threshold
    return called


def _replicates(
    scores: Floats, members: Bools, called: Bools, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Returns `(4, 1 + replicates)` values of the metrics, of the sample itself first."""
    bins, units = Bins(rank(scores, members)), np.arange(scores.size)
    blocks = []
    # In blocks, for the weights of all replicates at once would not fit in memory.
    for block in range(_BLOCKS):
        weights = resampling_weights(scores.size, _REPLICATES, rng)
        found, positives, wrong, negatives = (
            cells.astype(np.float32) @ weights
            for cells in (called & members, members, called & ~members, ~members)
        )
        gap = found / np.maximum(positives, 1) - wrong / np.maximum(negatives, 1)
        values = np.vstack([gap, bins.statistics(units, weights, FPRS)])
        blocks.append(values if block == 0 else values[:, 1:])
    return np.hstack(blocks)
