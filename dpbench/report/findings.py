"""What the tables say, in sentences: a superlative only where the intervals carry it."""

import math

import numpy as np
import pandas as pd

from dpbench.report.main_table import interval
from dpbench.report.results import Row, Tables, epsilon_text, records, upper_limits

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
            f"Without a defense the models are {_accuracy(first)} accurate, and the best attack"
            f"{_by(first)} reaches an advantage of {_advantage(first)} (0 is guessing, 1 is "
            "certainty)."
        )
        sentences += _at_equal_utility(run, defended, first)
    sentences += _with_guarantee(defended)
    sentences += _on_canaries(points, run.canaries)
    sentences += _against_static(run)
    return sentences


def _at_equal_utility(run: Tables, defended: pd.DataFrame, undefended: Row) -> list[str]:
    """Names the defense that leaks least, if no attack on it may reach what the others leak."""
    if defended.empty:
        return []
    near = defended[defended["test_accuracy"] >= undefended["test_accuracy"] - SAME_UTILITY]
    if near.empty:
        return ["No defense stays within one point of that accuracy."]
    least, *others = sorted(records(near), key=lambda row: float(row["advantage"]))
    highest = float(upper_limits(run, "advantage")[least["cell"]])
    among = "Among the defenses within one point of that accuracy"
    # What the others leak at least is what their best attack surely found.
    rivals = [row for row in others if not highest < _ends(row, "advantage")[1]]
    if rivals:
        names = [f"{row['cell']} ({_advantage(row)})" for row in rivals[:3]]
        more = f" and {len(rivals) - 3} more" if len(rivals) > 3 else ""
        return [
            f"{among}, {least['cell']} has the smallest measured advantage, {_advantage(least)}"
            f"{_by(least)} at {_accuracy(least)} accuracy, but is not told apart from "
            f"{', '.join(names)}{more}: the upper limits of the attacks on it reach {highest:.3f}."
        ]
    said = f"advantage {_advantage(least)}{_by(least)} at {_accuracy(least)} accuracy"
    return [
        f"{among}, {least['cell']} leaks least: {said}{_runner_up(run, least)}. No upper limit of "
        f"an attack on it exceeds {highest:.3f}"
        + (f"; the next, {others[0]['cell']}, leaks {_advantage(others[0])}." if others else ".")
    ]


def _runner_up(run: Tables, best: Row) -> str:
    """Returns the attack on a cell that finds most after the best one."""
    rows = run.attacks[
        (run.attacks["cell"] == best["cell"])
        & (run.attacks["knowledge"] == "adaptive")
        & (run.attacks["status"] == "done")
        & run.attacks["compared"]
        & (run.attacks["label"] != best["advantage_attack"])
    ].dropna(subset=["advantage"])
    if rows.empty:
        return ""
    second = max(records(rows), key=lambda row: float(row["advantage"]))
    return f"; the strongest other attack, {second['label']}, finds {_advantage(second)}"


def _with_guarantee(defended: pd.DataFrame) -> list[str]:
    claims = defended[np.isfinite(defended["epsilon"])]
    strong = claims[claims["bound_advantage_mechanism"] <= STRONG_LIMIT]
    if strong.empty:
        return []
    most = max(records(strong), key=lambda row: float(row["test_accuracy"]))
    return [
        f"Among the guarantees that keep every possible attack below advantage {STRONG_LIMIT:g}, "
        f"{most['cell']} has the highest measured accuracy, {_accuracy(most)}: the best attack"
        f"{_by(most)} reaches {_advantage(most)}, and at ε = {epsilon_text(most['epsilon'])} none "
        f"can exceed {most['bound_advantage_mechanism']:.3f}."
    ]


def _on_canaries(points: pd.DataFrame, kind: str) -> list[str]:
    """Compares, for the cell where they differ most, ordinary examples and canaries."""
    rate, canary_rate = "tpr_at_fpr_0.001", "canary_tpr_at_fpr_0.001"
    both = points.dropna(subset=[rate, canary_rate])
    apart = both[both[f"{canary_rate}_low"] > both[f"{rate}_high"]]
    defended = records(apart[apart["defense"] != "none"])
    if not defended:
        return []
    most = max(defended, key=lambda row: row[canary_rate] - row[rate])
    average, canary = (
        interval(*_ends(most, name), scale=100, digits=1) for name in (rate, canary_rate)
    )
    return [
        f"The measured gap between ordinary examples and canaries is widest under {most['cell']}: "
        f"at a false positive rate of 0.1 % the best attack{_by(most, rate)} finds {average} % of "
        f"ordinary members, and the best{_by(most, canary_rate)} {canary} % of "
        f"{kind.replace('_', ' ')} canaries."
    ]


def _against_static(run: Tables) -> list[str]:
    found = {(row["cell"], row["knowledge"]): row for row in records(run.best)}
    pairs = [
        (found.get((cell, "static")), found.get((cell, "adaptive")))
        for cell in run.cells.loc[run.cells["defense"] != "none", "cell"]
    ]
    hidden = [
        (static, adaptive)
        for static, adaptive in pairs
        if static is not None and adaptive is not None and _hides(static, adaptive)
    ]
    if not hidden:
        return []
    static, adaptive = max(hidden, key=lambda pair: pair[1]["advantage"] - pair[0]["advantage"])
    return [
        f"Knowing the defense gains most, as measured, against {static['cell']}: an attacker who "
        f"does not know of it reaches {_advantage(static)}, one who does {_advantage(adaptive)}."
    ]


def _hides(static: Row, adaptive: Row) -> bool:
    """Returns whether knowing the defense gains much, and surely something."""
    gain = float(adaptive["advantage"]) - float(static["advantage"])
    return gain >= NOTABLE_GAIN and _ends(adaptive, "advantage")[1] > _ends(static, "advantage")[2]


def _by(row: Row, rate: str = "advantage") -> str:
    name = row[f"{rate}_attack"]
    return f" ({name})" if name else ""


def _accuracy(row: Row) -> str:
    text = interval(*_ends(row, "test_accuracy"), scale=100, digits=1)
    return text.replace(" [", " % [", 1) if "[" in text else f"{text} %"


def _advantage(row: Row) -> str:
    return interval(*_ends(row, "advantage"))


def _ends(row: Row, name: str) -> tuple[float, float, float]:
    """Returns a number and its limits; a number without limits is its own."""
    value, low, high = (float(row.get(f"{name}{end}", math.nan)) for end in ("", "_low", "_high"))
    return value, low, high
