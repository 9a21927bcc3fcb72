"""What the tables say, in sentences."""

import math

import numpy as np
import pandas as pd

from dpbench.report.main_table import interval
from dpbench.report.results import Tables, epsilon_text

SAME_UTILITY = 0.01
STRONG_LIMIT = 0.5


def findings(run: Tables) -> list[str]:
    """Returns the run's answers to the benchmark's question, each with its numbers."""
    points = run.points.dropna(subset=["test_accuracy", "advantage"])
    undefended = points[points["defense"] == "none"]
    defended = points[points["defense"] != "none"]
    sentences = []
    if not undefended.empty:
        first = undefended.iloc[0]
        sentences.append(
            f"Without a defense the models are {_accuracy(first)} accurate, and the best attack "
            f"reaches an advantage of {_advantage(first)} (0 is guessing, 1 is certainty)."
        )
        sentences += _at_equal_utility(defended, first)
    sentences += _with_guarantee(defended)
    sentences += _only_hiding(run)
    return sentences


def _at_equal_utility(defended: pd.DataFrame, undefended: pd.Series) -> list[str]:
    near = defended[defended["test_accuracy"] >= undefended["test_accuracy"] - SAME_UTILITY]
    if near.empty:
        return ["No defense stays within one point of that accuracy."]
    least = near.loc[near["advantage"].idxmin()]
    return [
        f"Among the defenses within one point of that accuracy, {least['cell']} leaks least: "
        f"advantage {_advantage(least)} at {_accuracy(least)} accuracy."
    ]


def _with_guarantee(defended: pd.DataFrame) -> list[str]:
    claims = defended[np.isfinite(defended["epsilon"])]
    strong = claims[claims["bound_advantage_mechanism"] <= STRONG_LIMIT]
    if strong.empty:
        return []
    most = strong.loc[strong["test_accuracy"].idxmax()]
    return [
        f"Among the guarantees that keep every possible attack below advantage {STRONG_LIMIT:g}, "
        f"the most accurate is {most['cell']}: {_accuracy(most)} accurate, attacks reach "
        f"{_advantage(most)}, and at ε = {epsilon_text(most['epsilon'])} none can exceed "
        f"{most['bound_advantage_mechanism']:.3f}."
    ]


def _only_hiding(run: Tables) -> list[str]:
    best = run.best.set_index(["cell", "knowledge"])["advantage"].unstack()
    if not {"static", "adaptive"} <= set(best.columns):
        return []
    gained = (best["adaptive"] - best["static"]).drop(
        run.cells.loc[run.cells["defense"] == "none", "cell"], errors="ignore"
    )
    gained = gained.sort_index().dropna()
    if gained.empty or gained.max() < 0.05:
        return []
    cell = gained.idxmax()
    return [
        f"{cell} hides more than it protects: an attacker who does not know of it reaches "
        f"{best.loc[cell, 'static']:.3f}, one who does {best.loc[cell, 'adaptive']:.3f}."
    ]


def _accuracy(row: pd.Series) -> str:
    text = interval(*_ends(row, "test_accuracy"), scale=100, digits=1)
    return text.replace(" [", " % [", 1) if "[" in text else f"{text} %"


def _advantage(row: pd.Series) -> str:
    return interval(*_ends(row, "advantage"))


def _ends(row: pd.Series, name: str) -> tuple[float, float, float]:
    value, low, high = (float(row.get(f"{name}{end}", math.nan)) for end in ("", "_low", "_high"))
    return value, low, high
