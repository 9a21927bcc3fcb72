"""The main table: what each defense costs, what it leaks, and what it guarantees."""

import math

import pandas as pd

from dpbench.report.results import Row, Tables, epsilon_text, records

COLUMNS = (
    "cell",
    "test accuracy, %",
    "advantage",
    "TPR at 0.1 % FPR, %",
    "the same on canaries, %",
    "ε",
    "limit on advantage",
)
LEAKS = ("advantage", "tpr_at_fpr_0.001", "canary_tpr_at_fpr_0.001")
RATES = ("test_accuracy", *LEAKS)
NUMBERS = (
    *(f"{name}{end}" for name in RATES for end in ("", "_low", "_high")),
    *("epsilon", "delta", "bound_advantage_epsilon", "bound_advantage_mechanism"),
)
ATTACKS = tuple(f"{name}_attack" for name in LEAKS)
"""Columns of the attack behind each leak: every metric has a winner of its own."""


def main_numbers(run: Tables) -> pd.DataFrame:
    """Returns one row per cell with plain numbers, for programs."""
    rows = run.cells[["cell", "defense", "adaptive", "status", "reason"]].merge(
        run.points[["cell", *ATTACKS, "violates_bound", *NUMBERS]], on="cell", how="left"
    )
    rows["violates_bound"] = rows["violates_bound"].eq(True)
    rows["static_only"] = rows["adaptive"].eq("") & rows["defense"].ne("none")
    names = ["cell", *ATTACKS, "static_only", *NUMBERS, "violates_bound", "status", "reason"]
    return rows[names]


def main_table(run: Tables) -> pd.DataFrame:
    """Returns one row per cell as people read it: numbers with their 95 % intervals.

    Each leak names the attack that found it, on a second line of its field. The column of the
    canaries is there only if the run has any.
    """
    rows = main_numbers(run)
    table = pd.DataFrame([_row(row) for row in records(rows)], columns=list(COLUMNS))
    return table if run.canaries else table.drop(columns=COLUMNS[4])


def attack_table(run: Tables) -> pd.DataFrame:
    """Returns the adaptive advantage of every attack on every cell, as people read it."""
    names = list(dict.fromkeys(run.attacks["label"]))
    adaptive = run.attacks[run.attacks["knowledge"] == "adaptive"]
    found = {(row["cell"], row["label"]): row for row in records(adaptive)}
    table = []
    for cell in run.cells["cell"]:
        rows = [found.get((cell, name)) for name in names]
        table.append([cell, *("–" if row is None else _advantage(row) for row in rows)])
    return pd.DataFrame(table, columns=["cell", *names])


def attack_numbers(run: Tables) -> pd.DataFrame:
    """Returns the adaptive advantages, one row per cell and one column per attack."""
    adaptive = run.attacks[run.attacks["knowledge"] == "adaptive"]
    wide = adaptive.pivot_table(index="cell", columns="label", values="advantage", sort=False)
    names = [name for name in dict.fromkeys(run.attacks["label"]) if name in wide.columns]
    return wide.reindex(index=run.cells["cell"], columns=names).reset_index()


def interval(value: float, low: float, high: float, *, scale: float = 1, digits: int = 3) -> str:
    """Returns `value [low, high]`; the interval is left out where there is none."""
    if math.isnan(value):
        return "–"
    text = f"{scale * value:.{digits}f}"
    if math.isnan(low) or math.isnan(high):
        return text
    return f"{text} [{scale * low:.{digits}f}, {scale * high:.{digits}f}]"


def _row(row: Row) -> tuple[str, ...]:
    if row["status"] != "done":
        return (row["cell"], row["status"].replace("_", " "), *["–"] * (len(COLUMNS) - 2))
    claimed = math.isfinite(row["epsilon"])
    return (
        row["cell"],
        _ends(row, "test_accuracy", scale=100, digits=1),
        _leak(row, "advantage", scale=1, digits=3),
        _leak(row, "tpr_at_fpr_0.001", scale=100, digits=2),
        _leak(row, "canary_tpr_at_fpr_0.001", scale=100, digits=2),
        epsilon_text(row["epsilon"]),
        f"{row['bound_advantage_mechanism']:.3f}" if claimed else "–",
    )


def _leak(row: Row, name: str, *, scale: float, digits: int) -> str:
    """Returns a leak with the attack that found it below."""
    if math.isnan(row["advantage"]):
        return "–"
    if math.isnan(row[name]):
        return "–" if name.startswith("canary_") else "not resolvable"
    attack = row[f"{name}_attack"] or "not named"
    told = " (static only)" if row["static_only"] else ""
    return f"{_ends(row, name, scale=scale, digits=digits)}\n{attack}{told}"


def _ends(row: Row, name: str, *, scale: float, digits: int) -> str:
    triple = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
    return interval(*triple, scale=scale, digits=digits)


def _advantage(row: Row) -> str:
    status = str(row["status"])
    return f"{row['advantage']:.3f}" if status == "done" else status.replace("_", " ")
