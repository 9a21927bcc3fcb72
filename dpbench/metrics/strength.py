"""How strong an attack is by each metric, on models that choose the strongest one of a cell.

One attack is best by advantage, another at a low false positive rate: each metric has a winner of
its own. The scores on which attacks are compared must come from shadows of the choosing models
alone (see `thresholds`), or the choice knows the bits of the models it is reported on.
"""

import math
from collections.abc import Callable, Collection, Mapping
from functools import partial

import numpy as np
from numpy.typing import NDArray

from dpbench.metrics.example_fpr import margins, rank_margins
from dpbench.metrics.examples import most_exposed
from dpbench.metrics.lower_bound import epsilon_lower
from dpbench.metrics.roc import Bools, Floats, auc, rank, roc, roc_of_ranking, tpr_at
from dpbench.metrics.thresholds import advantage_of, best_threshold

FPRS = (0.01, 0.001)

METRICS = (
    "advantage",
    "auc",
    "tpr_at_fpr_0.01",
    "tpr_at_fpr_0.001",
    "epsilon_lower",
    "tpr_at_example_fpr_0.01",
    "advantage_top_0.01",
)
"""What attacks compete by."""


def chosen_by(column: str) -> str | None:
    """Returns the metric whose winner a column of a `best` row is of; None for other columns.

    Rates at thresholds of shadows, and precisions, go with the TPR at the same FPR.
    """
    name = column.removesuffix("_low").removesuffix("_high")
    if name in METRICS:
        return name
    if name == "balanced_accuracy":
        return "advantage"
    if name == "realised_example_fpr_0.01":
        return "tpr_at_example_fpr_0.01"
    name = name.split("_prior_")[0]
    rate = name.rpartition("_fpr_")[2]
    if name in (f"{of}_fpr_{rate}" for of in _READ_AT_FPR):
        return f"tpr_at_fpr_{rate}"
    return None


_READ_AT_FPR = ("precision_at", "tpr_at_shadow", "realised_shadow", "precision_at_shadow")


def strengths(
    scores: Floats,
    members: Bools,
    *,
    source: Floats | None = None,
    metrics: Collection[str] = METRICS,
    delta: float = 0.0,
    uses_other_bits: bool = True,
) -> dict[str, float]:
    """Returns how strong an attack is by each metric; NaN where the metric cannot be told.

    The advantage is that of one threshold for all models, which is best for the source: an attacker
    whose threshold comes from undefended models is as strong as it carries over.

    Args:
        scores: `(m, n)` scores of the choosing models, which have shadows only among themselves.
        members: `(m, n)` their bits.
        source: `(m, n)` scores of the models that the adversary knows, which have these bits, too;
            by default `scores`.
        metrics: Which metrics are wanted.
        delta: The delta at which epsilon is bounded.
        uses_other_bits: Whether a model's scores may depend on the bits of the others.
    """
    ranking = rank(scores, members)
    curve = roc_of_ranking(ranking)
    examples = scores.shape[1]
    known = curve if source is None or source is scores else roc(source, members)
    decisions = scores >= best_threshold(known)
    measures: dict[str, Callable[[], float]] = {
        "advantage": lambda: advantage_of(decisions, members),
        "auc": lambda: auc(curve),
        **{f"tpr_at_fpr_{fpr:g}": partial(tpr_at, curve, fpr) for fpr in FPRS},
        "epsilon_lower": lambda: (
            epsilon_lower(
                ranking, examples=examples, delta=delta, uses_other_bits=uses_other_bits
            ).epsilon
        ),
        "tpr_at_example_fpr_0.01": lambda: _own_tpr(scores, members, uses_other_bits),
        "advantage_top_0.01": lambda: _top(decisions, members),
    }
    return {metric: measures[metric]() for metric in metrics}


def _own_tpr(scores: Floats, members: Bools, uses_other_bits: bool) -> float:
    if uses_other_bits or not np.isfinite(scores).all():
        return math.nan
    return tpr_at(rank_margins(margins(scores, members), members)[1], FPRS[0])


def _top(decisions: Bools, members: Bools) -> float:
    """Returns the advantage on the examples that one half of these models finds most exposed.

    It is measured on the other half, both ways; on the same models it would be mostly luck.
    """
    values = []
    for half in (0, 1):
        chosen = most_exposed(decisions[1 - half :: 2], members[1 - half :: 2])
        called, bits = decisions[half::2], members[half::2]
        inside, outside = (float((side @ chosen).sum()) for side in (bits, ~bits))
        if not inside or not outside:
            return math.nan
        found, wrong = (float(((called & side) @ chosen).sum()) for side in (bits, ~bits))
        values.append(found / inside - wrong / outside)
    return sum(values) / 2


def strongest(candidates: Mapping[int, Mapping[str, float]]) -> dict[str, int]:
    """Returns the number of the winner by metric; where that cannot be told, the one by advantage.

    Args:
        candidates: By the number of each attack, its strengths. The first of equals wins.
    """
    metrics = list(dict.fromkeys(metric for found in candidates.values() for metric in found))
    table = np.array([[found[metric] for metric in metrics] for found in candidates.values()])
    numbers, known = list(candidates), ~np.isnan(table)
    # A metric that no attack resolves has the winner by advantage: its row still needs numbers.
    first = np.where(known, table, -np.inf).argmax(axis=0)
    fallback = numbers[first[metrics.index("advantage")]]
    return {
        metric: numbers[row] if some else fallback
        for metric, row, some in zip(metrics, first, known.any(axis=0), strict=True)
    }


def fold(scores: NDArray[np.generic], number: int) -> NDArray[np.int64]:
    """Returns the models of one fold, even (0) or odd (1), of scores or bits `(M, n)`."""
    return np.arange(number, len(scores), 2)
