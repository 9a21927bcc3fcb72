"""Is any defense better than DP-SGD on the examples it protects worst? Tables of docs/aerni.md.

    dpbench run aerni && dpbench run aerni-duplicates     # or smaller copies of these grids
    python -m bench.aerni results/aerni results/aerni-duplicates

A cell's leakage is the TPR at FPR 0.1 % of its strongest adaptive attack on canaries, chosen on the
numbers shown; its rival is the DP-SGD cell of least epsilon among those as accurate.
"""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml

from bench.generated import replace_section

PAGE = Path("docs/aerni.md")
TPR = "tpr_at_fpr_0.001"
SLACK = 0.005
"""Accuracies that differ by less are taken to be equal."""


class Row(NamedTuple):
    """One cell: accuracy in the canary game, leakage there and on average, both with intervals."""

    cell: str
    epsilon: float
    accuracy: float
    attack: str
    canary: tuple[float, float, float]
    average: tuple[float, float, float]

    @property
    def ratio(self) -> float:
        """How much more the canaries leak than the average."""
        return self.canary[0] / self.average[0] if self.average[0] else float("nan")


def rows_of(cells: pd.DataFrame, attacks: pd.DataFrame) -> list[Row]:
    """Returns a row per finished cell of a run's tables."""
    single = attacks[
        (attacks["knowledge"] == "adaptive") & ~attacks["attack"].isin(["best", "ensemble"])
    ]
    found = []
    for _, cell in cells.iterrows():
        mine = single[single["cell"] == cell["cell"]]
        canary = mine.loc[mine[f"canary_{TPR}"].fillna(-1).idxmax()]
        average = mine.loc[mine[TPR].fillna(-1).idxmax()]
        found.append(
            Row(
                cell=cell["cell"],
                epsilon=cell["canary_epsilon"],
                accuracy=cell["canary_test_accuracy"],
                attack=canary["attack"],
                canary=_with_limits(canary, f"canary_{TPR}"),
                average=_with_limits(average, TPR),
            )
        )
    return found


def rival(row: Row, rows: list[Row]) -> Row | None:
    """Returns the DP-SGD cell of least epsilon that is as accurate as `row`, or None."""
    able = [
        other
        for other in rows
        if other.cell.startswith("dp_sgd") and other.accuracy >= row.accuracy - SLACK
    ]
    return min(able, key=lambda other: other.epsilon, default=None)


def table(rows: list[Row]) -> str:
    """Returns the table as markdown."""
    lines = [
        "| defense | test accuracy | canaries, TPR at FPR 0.1 % | by | average example | ratio "
        "| DP-SGD of least epsilon that is as accurate |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        beside = "" if row.cell.startswith("dp_sgd") else _beside(rival(row, rows))
        lines.append(
            f"| `{row.cell}` | {row.accuracy:.3f} | {_limits(row.canary)} | {row.attack} "
            f"| {_limits(row.average)} | {row.ratio:.1f} | {beside} |"
        )
    return "\n".join(lines)


def _beside(other: Row | None) -> str:
    return "none" if other is None else f"`{other.cell}`: {_limits(other.canary)}"


def _with_limits(row: pd.Series, name: str) -> tuple[float, float, float]:
    value, low, high = (float(row[name + end]) for end in ("", "_low", "_high"))
    return value, low, high


def _limits(value: tuple[float, float, float]) -> str:
    if np.isnan(value[0]):
        return "not resolvable"
    return f"{value[0]:.3f} [{value[1]:.3f}, {value[2]:.3f}]"


def main() -> None:
    """Reads runs, one for each kind of canary, and writes the page's tables."""
    folders = [Path(name) for name in sys.argv[1:]] or [Path("results/aerni")]
    parts = []
    for folder in folders:
        grid = yaml.safe_load((folder / "grid.yaml").read_text(encoding="utf-8"))
        tables = (pd.read_parquet(folder / f"{name}.parquet") for name in ("cells", "attacks"))
        size = f"{grid['canaries']['count']} canaries, {grid['models']} models"
        parts.append(f"### {grid['canaries']['kind']} ({size})\n\n{table(rows_of(*tables))}")
    text = "\n\n".join(parts)
    print(text)
    replace_section(PAGE, text)


if __name__ == "__main__":
    main()
