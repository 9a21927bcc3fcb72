"""What DP-SGD leaks at the accuracy of every other defense, read off a run's tables."""

import json
import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dpbench.metrics.frontier import Frontier
from dpbench.report.main_table import interval
from dpbench.report.results import Row, Tables, records

LEAKS_MORE, LEAKS_LESS, NOT_APART = "leaks more", "leaks less", "not told apart here"
NEVER = {"above": "DP-SGD is nowhere as accurate", "below": "DP-SGD is nowhere as inaccurate"}
_STRENGTHS = ("epsilon", "noise_multiplier")


class LeakMeasure(NamedTuple):
    """A column of leaks and how it is written."""

    name: str
    title: str
    scale: float
    digits: int


MEASURES = (
    LeakMeasure("advantage", "advantage", 1, 3),
    LeakMeasure("tpr_at_fpr_0.001", "TPR at 0.1 % FPR, %", 100, 2),
)


def matched_numbers(run: Tables) -> pd.DataFrame:
    """Returns one row for each cell without DP-SGD, each measure and each track.

    The limits of DP-SGD's leak follow from the limits of all numbers that enter: whenever these
    hold, and accuracy and leak both grow as the guarantee is relaxed, the leak lies between them,
    whatever its course between two strengths.
    They are wide, since they forget that all cells share test examples and memberships;
    `dpbench compare` uses that, and its intervals decide more.
    """
    rows: list[Row] = []
    for track, prefix in (("average", ""), ("canary", "canary_")):
        accuracy = f"{prefix}test_accuracy"
        for measure in MEASURES:
            leak = f"{prefix}{measure.name}"
            points = run.points.dropna(subset=[*_with_ends(accuracy), *_with_ends(leak)])
            private = ["dp_sgd" in name.split("+") for name in points["defense"]]
            family = _family(points)
            # A single strength is no line to read anything off.
            for cell in records(points[~np.array(private, dtype=bool)]) if len(family) > 1 else ():
                own = {"cell": cell["cell"], "track": track, "measure": measure.name}
                rows.append(own | _matched(cell, family, accuracy, leak))
    return pd.DataFrame(rows, columns=list(_COLUMNS))


_COLUMNS = (
    *("cell", "track", "measure", "test_accuracy", "test_accuracy_low", "test_accuracy_high"),
    *("leak", "leak_low", "leak_high"),
    *("dp_sgd_leak", "dp_sgd_leak_low", "dp_sgd_leak_high", "between", "verdict"),
)


def matched_table(numbers: pd.DataFrame) -> pd.DataFrame:
    """Returns the numbers as people read them; tracks are named where there are two."""
    titles = {measure.name: measure for measure in MEASURES}
    rows = []
    for row in records(numbers):
        measure = titles[row["measure"]]
        leak, rival = (
            interval(*_ends(row, name), scale=measure.scale, digits=measure.digits)
            for name in ("leak", "dp_sgd_leak")
        )
        accuracy = interval(*_ends(row, "test_accuracy"), scale=100, digits=1)
        examples = "canaries" if row["track"] == "canary" else "ordinary"
        rows.append((row["cell"], examples, accuracy, measure.title, leak, rival, row["verdict"]))
    table = pd.DataFrame(rows, columns=list(_READABLE))
    return table if (numbers["track"] == "canary").any() else table.drop(columns="examples")


_READABLE = (
    *("cell", "examples", "test accuracy, %", "measure", "its leak"),
    *("DP-SGD at that accuracy", "the defense"),
)


def _family(points: pd.DataFrame) -> pd.DataFrame:
    """Returns the longest series of DP-SGD cells that differ in strength alone, strictest first."""
    private = points[points["defense"] == "dp_sgd"]
    series = []
    for text in private["params"]:
        fields = json.loads(text)
        # A series by noise multiplier is another one: its order is the other way round.
        named = [name for name in _STRENGTHS if fields.get(name) is not None]
        rest = {name: value for name, value in fields.items() if name not in _STRENGTHS}
        series.append(json.dumps([named, rest], sort_keys=True))
    if not series:
        return private
    longest = max(series, key=series.count)
    return private[[one == longest for one in series]].sort_values("epsilon", kind="stable")


def _matched(cell: Row, family: pd.DataFrame, accuracy: str, leak: str) -> dict[str, Any]:
    along, values = (
        {end: family[f"{column}{end}"].to_numpy() for end in ("", "_low", "_high")}
        for column in (accuracy, leak)
    )
    own, leaks = _ends(cell, accuracy), _ends(cell, leak)
    point = Frontier(along[""], values[""]).at(own[0])
    # The most favourable corner for DP-SGD, and the least: more accurate with less leak, and a
    # course from strength to strength that rises as late as it can.
    low = Frontier(along["_high"], values["_low"]).at(own[1]).stricter
    high = Frontier(along["_low"], values["_high"]).at(own[2]).looser
    upper = math.ceil(point.position)
    between = dict.fromkeys(family["cell"].iloc[[math.floor(point.position), upper]])
    if own[0] > np.max(along[""]):
        verdict = NEVER["above"]
    elif own[0] < np.min(along[""]):
        verdict = NEVER["below"]
    else:
        verdict = LEAKS_MORE if leaks[1] > high else LEAKS_LESS if leaks[2] < low else NOT_APART
    found = (*own, *leaks, point.value, low, high, " to ".join(between), verdict)
    return dict(zip(_COLUMNS[3:], found, strict=True))


def _with_ends(name: str) -> list[str]:
    return [name, f"{name}_low", f"{name}_high"]


def _ends(row: Row, name: str) -> tuple[float, float, float]:
    return row[name], row[f"{name}_low"], row[f"{name}_high"]
