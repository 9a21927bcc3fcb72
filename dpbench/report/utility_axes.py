"""The axes of the headline figure and the points on them, whatever tells the points apart."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from dpbench.report.palette import ALARM, FAINT, QUIET
from dpbench.report.results import Floats, records
from dpbench.report.utility_limits import LABEL_ROOM, mark


def limit_axes(axes: Axes, points: pd.DataFrame) -> None:
    """Sets limits from what was measured: bounds may lie off the chart, points may not."""
    highest = float(np.nanmax(points[["advantage", "advantage_high"]].to_numpy()))
    lowest = float(np.nanmin(points[["advantage", "advantage_low"]].to_numpy()))
    bounds = points["bound_advantage_mechanism"][np.isfinite(points["epsilon"])].dropna()
    # As many bounds as fit without squeezing the points; for a single one squeeze a little more.
    least = bounds.nsmallest(1)
    near = [*bounds[bounds <= 1.25 * highest], *least[least <= 2.5 * highest]]
    top = min(1.03, 1.1 * max(1.12 * highest, 0.02, *near))
    axes.set_ylim(min(lowest, 0.0) - 0.04 * top, top)
    accuracies = points[["test_accuracy", "test_accuracy_low", "test_accuracy_high"]].to_numpy()
    low, high = float(np.nanmin(accuracies)), float(np.nanmax(accuracies))
    pad = max(0.06 * (high - low), 0.005)
    axes.set_xlim(low - 1.6 * pad, high + 3.0 * pad)


def describe(axes: Axes, points: pd.DataFrame, title: str) -> None:
    """Names the axes and draws the cross hairs of the undefended models; limits must be final."""
    axes.grid(True)
    axes.axhline(0, color="#444444", linewidth=0.8, zorder=1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    axes.set_xlabel("test accuracy")
    axes.set_ylabel("advantage of the best attack\n0 = guessing, 1 = every member found")
    claims = points[np.isfinite(points["epsilon"])]
    above = (claims["bound_advantage_mechanism"] >= min(axes.get_ylim()[1], 1.0)).any()
    axes.set_title(title, color=QUIET, pad=LABEL_ROOM if above else None)
    axes.annotate(
        "better ↘",
        (1, 0),
        (-4, 7),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        color=QUIET,
        fontsize=11,
        style="italic",
    )
    for row in records(points[points["defense"] == "none"]):
        axes.axvline(row["test_accuracy"], color=FAINT, linewidth=1.0, zorder=1)
        axes.axhline(row["advantage"], color=FAINT, linewidth=1.0, zorder=1)


def draw_points(
    axes: Axes, rows: pd.DataFrame, *, color: str, marker: str, faint: bool, **style: Any
) -> None:
    """Draws cells with their intervals."""
    undefended = marker == "*"
    style = {"markersize": 15 if undefended else 7, "zorder": 5 if undefended else 4} | style
    axes.errorbar(
        rows["test_accuracy"].to_numpy(),
        rows["advantage"].to_numpy(),
        xerr=_reach(rows, "test_accuracy"),
        yerr=_reach(rows, "advantage"),
        fmt=marker,
        color=color,
        markeredgecolor="white",
        markeredgewidth=0.8,
        elinewidth=0.7 if faint else 1.1,
        ecolor=(color, 0.4) if faint else None,
        **style,
    )


def interval_mark() -> Line2D:
    """Returns the legend's entry of the intervals."""
    return mark("|", QUIET, "95 % interval", width=1.2)


def alarms(axes: Axes, points: pd.DataFrame) -> list[Line2D]:
    """Circles the cells that violate their bound, and returns the legend's entry."""
    violating = points[points["violates_bound"]]
    if violating.empty:
        return []
    style: dict[str, Any] = {
        "color": ALARM,
        "marker": "o",
        "markerfacecolor": "none",
        "markeredgewidth": 2.0,
    }
    x, y = violating["test_accuracy"], violating["advantage"]
    axes.plot(x, y, linewidth=0, markersize=17, zorder=5, **style)
    return [Line2D([], [], linewidth=0, markersize=11, label="violates its bound", **style)]


def missing(count: int) -> list[Line2D]:
    """Returns the legend's entry of the cells that have no numbers."""
    cells = "1 cell" if count == 1 else f"{count} cells"
    return [mark(" ", QUIET, f"({cells} without numbers: see table)")] if count else []


def _reach(rows: pd.DataFrame, column: str) -> Floats:
    """Returns `(2, n)` distances to the ends of the interval, NaN where there is none."""
    value = rows[column].to_numpy()
    low, high = rows[f"{column}_low"].to_numpy(), rows[f"{column}_high"].to_numpy()
    return np.stack([np.maximum(value - low, 0), np.maximum(high - value, 0)])
