"""What the tables say, in sentences."""

import math

import numpy as np
import pandas as pd

from dpbench.report.main_table import interval
from dpbench.report.results import Row, Tables, epsilon_text, records

SAME_UTILITY = 0.01
STRONG_LIMIT = 0.5
NOTABLE_GAIN = 0.05


def findings(run: Tables) -> list[str]:
    """Returns the run's answers to the benchmark's question, each with its numbers."""
    points = run.points.dropna(subset=["test_accuracy", "advantage"])
    undefended = points[points["defense"] == "none"]
    defended = points[points["defense"] != "none"]
    sentences = []
    if not undefended.empty:
        first = records(undefended)[0]
        sentences.append(
            f"Without a defense the models are {_accuracy(first)} accurate, and the best attack "
            f"reaches an advantage of {_advantage(first)} (0 is guessing, 1 is certainty)."
        )
        sentences += _at_equal_utility(defended, first)
    sentences += _with_guarantee(defended)
    sentences += _on_canaries(points, run.canaries)
    sentences += _against_static(run)
    return sentences


def _at_equal_utility(defended: pd.DataFrame, undefended: Row) -> list[str]:
    if defended.empty:
        return []
    near = defended[defended["test_accuracy"] >= undefended["test_accuracy"] - SAME_UTILITY]
    if near.empty:
        return ["No defense stays within one point of that accuracy."]
    least = min(records(near), key=lambda row: float(row["advantage"]))
    return [
        f"Among the defenses within one point of that accuracy, {least['cell']} leaks least: "
        f"advantage {_advantage(least)} at {_accuracy(least)} accuracy."
    ]


def _with_guarantee(defended: pd.DataFrame) -> list[str]:
    claims = defended[np.isfinite(defended["epsilon"])]
    strong = claims[claims["bound_advantage_mechanism"] <= STRONG_LIMIT]
    if strong.empty:
        return []
    most = max(records(strong), key=lambda row: float(row["test_accuracy"]))
    return [
        f"Among the guarantees that keep every possible attack below advantage {STRONG_LIMIT:g}, "
        f"the most accurate is {most['cell']}: {_accuracy(most)} accurate, attacks reach "
        f"{_advantage(most)}, and at ε = {epsilon_text(most['epsilon'])} none can exceed "
        f"{most['bound_advantage_mechanism']:.3f}."
    ]


def _on_canaries(points: pd.DataFrame, kind: str) -> list[str]:
    """Compares, for the cell where they differ most, ordinary examples and canaries."""
    both = points.dropna(subset=["tpr_at_fpr_0.001", "canary_tpr_at_fpr_0.001"])
    defended = records(both[both["defense"] != "none"])
    if not defended:
        return []
    most = max(defended, key=lambda row: row["canary_tpr_at_fpr_0.001"] - row["tpr_at_fpr_0.001"])
    average, canary = (
        interval(*_ends(most, name), scale=100, digits=1)
        for name in ("tpr_at_fpr_0.001", "canary_tpr_at_fpr_0.001")
    )
    return [
        f"The average hides most under {most['cell']}: at a false positive rate of 0.1 % attacks "
        f"find {average} % of ordinary members and {canary} % of {kind.replace('_', ' ')} canaries."
    ]


def _against_static(run: Tables) -> list[str]:
    found = {(row["cell"], row["knowledge"]): float(row["advantage"]) for row in records(run.best)}
    pairs = [
        (cell, found.get((cell, "static"), math.nan), found.get((cell, "adaptive"), math.nan))
        for cell in run.cells.loc[run.cells["defense"] != "none", "cell"]
    ]
    hidden = [pair for pair in pairs if pair[2] - pair[1] >= NOTABLE_GAIN]
    if not hidden:
        return []
    cell, static, adaptive = max(hidden, key=lambda pair: pair[2] - pair[1])
    return [
        f"Static attacks flatter {cell} most: an attacker who does not know of the defense reaches "
        f"{static:.3f}, one who does {adaptive:.3f}."
    ]


def _accuracy(row: Row) -> str:
    text = interval(*_ends(row, "test_accuracy"), scale=100, digits=1)
    return text.replace(" [", " % [", 1) if "[" in text else f"{text} %"


def _advantage(row: Row) -> str:
    return interval(*_ends(row, "advantage"))


def _ends(row: Row, name: str) -> tuple[float, float, float]:
    value, low, high = (float(row.get(f"{name}{end}", math.nan)) for end in ("", "_low", "_high"))
    return value, low, high
