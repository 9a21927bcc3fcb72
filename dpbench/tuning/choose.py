"""Choosing among trials: the least leak within a loss of accuracy."""

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from dpbench.tuning.trials import Trials

COLUMNS = (
    "family", "cell", "params", "accuracy", "accuracy_low", "accuracy_high", "advantage",
    "advantage_low", "advantage_high", "attack", "chosen_for", "status", "reason",
)  # fmt: skip


def choose(
    trials: Trials, cells: pd.DataFrame, attacks: pd.DataFrame, losses: Sequence[float]
) -> pd.DataFrame:
    """Returns one row for every trial, with the losses of accuracy for which it was chosen.

    For each family and each loss, of the trials that lose no more accuracy than that against the
    undefended models, the one with the lowest advantage of the best attack; the more accurate one
    of two equals. A family that cannot be as accurate has no choice there.

    Args:
        trials: What was tried.
        cells: The tuning run's cells.
        attacks: Its attacks.
        losses: Allowed losses of accuracy, in (0, 1).
    """
    best = attacks[(attacks["attack"] == "best") & (attacks["knowledge"] == "adaptive")]
    merged = cells.merge(best, on="cell", how="left", suffixes=("", "_attack"))
    merged = merged.set_index("cell")
    floor = float(merged["test_accuracy"].iloc[0])
    rows = []
    for family, labels in trials.families.items():
        own = merged.loc[list(labels)]
        usable = own[(own["status"] == "done") & own["advantage"].notna()]
        wins: dict[str, list[str]] = {label: [] for label in labels}
        for loss in losses:
            near = usable[usable["test_accuracy"] >= floor - loss]
            if not near.empty:
                ordered = near.sort_values(
                    ["advantage", "test_accuracy"], ascending=[True, False], kind="stable"
                )
                wins[str(ordered.index[0])].append(f"{loss:g}")
        for label, record in zip(labels, own.to_dict("records"), strict=True):
            rows.append(_row(family, label, record, wins[label]))
    return pd.DataFrame(rows, columns=list(COLUMNS))


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
