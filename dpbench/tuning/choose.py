"""Choosing among trials: the baseline first, then the least leak within a loss of accuracy."""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from dpbench.tuning.trials import UNDEFENDED, Family, TuningTrials

COLUMNS = (
    "family", "cell", "params", "accuracy", "accuracy_low", "accuracy_high", "advantage",
    "advantage_low", "advantage_high", "attack", "chosen_for", "status", "reason",
)  # fmt: skip

BASELINE, PROMISE = "baseline", "promise"
"""Why a trial is chosen, where it is not for a loss of accuracy."""

SLACK = 0.005
"""Accuracies of undefended models that differ by less are taken to be equal."""


def choose(
    trials: TuningTrials, cells: pd.DataFrame, attacks: pd.DataFrame, losses: Sequence[float]
) -> pd.DataFrame:
    """Returns one row for every trial, with what it was chosen for.

    `baseline`: of the undefended trials that are as accurate as the best of them, up to `SLACK`,
    the one that leaks least; training longer would gain nothing. `promise`: the most accurate trial
    of a defense that promises what it may leak. Of every other family, for each loss, of the trials
    that lose no more accuracy than that against the baseline, the one with the lowest advantage of
    the best attack; the more accurate one of two equals. A family that cannot be as accurate has no
    choice there.

    Args:
        trials: What was tried.
        cells: The tuning run's cells.
        attacks: Its attacks.
        losses: Allowed losses of accuracy, in (0, 1).
    """
    best = attacks[(attacks["attack"] == "best") & (attacks["knowledge"] == "adaptive")]
    merged = cells.merge(best, on="cell", how="left", suffixes=("", "_attack"))
    merged = merged.set_index("cell")
    floor = float("-inf")
    rows = []
    for family in trials.families:
        own = merged.loc[list(family.labels)]
        usable = own[(own["status"] == "done") & own["advantage"].notna()]
        wins = _wins(family, usable, floor, losses)
        for label in wins:
            if family.name == UNDEFENDED:
                floor = float(usable["test_accuracy"][label])
        for label, record in zip(family.labels, own.to_dict("records"), strict=True):
            rows.append(_row(family.name, label, record, wins.get(label, [])))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _wins(
    family: Family, usable: pd.DataFrame, floor: float, losses: Sequence[float]
) -> dict[str, list[str]]:
    """Returns the chosen trials of a family, each with what it was chosen for."""
    if usable.empty:
        return {}
    top = float(usable["test_accuracy"].max())
    wins: dict[str, list[str]] = {}
    if family.name == UNDEFENDED:
        wins[_least_leak(usable, top - SLACK)] = [BASELINE]
    elif family.promises:
        wins[_least_leak(usable, top)] = [PROMISE]
    else:
        for loss in losses:
            if top >= floor - loss:
                wins.setdefault(_least_leak(usable, floor - loss), []).append(f"{loss:g}")
    return wins


def _least_leak(usable: pd.DataFrame, accuracy: float) -> str:
    """Returns the trial that leaks least of those with at least that accuracy."""
    near = usable[usable["test_accuracy"] >= accuracy]
    ordered = near.sort_values(
        ["advantage", "test_accuracy"], ascending=[True, False], kind="stable"
    )
    return str(ordered.index[0])


def _row(
    family: str, label: str, row: Mapping[Hashable, Any], wins: list[str]
) -> dict[str, object]:
    attack = row["attack_params"]
    return {
        "family": family,
        "cell": label,
        "params": row["params"],
        "accuracy": row["test_accuracy"],
        "accuracy_low": row["test_accuracy_low"],
        "accuracy_high": row["test_accuracy_high"],
        **{name: row[name] for name in ("advantage", "advantage_low", "advantage_high")},
        "attack": json.loads(attack).get("attack", "") if isinstance(attack, str) else "",
        "chosen_for": " ".join(wins),
        "status": row["status"],
        "reason": row["reason"],
    }
