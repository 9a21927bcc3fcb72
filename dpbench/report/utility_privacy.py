"""The headline figure: test accuracy against what the best attack finds, below theory's limit."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from dpbench.report.canvas import canvas, drawable, house_style, legend_beside
from dpbench.report.palette import ALARM, FAINT, QUIET, Look, looks
from dpbench.report.results import Floats, Results, records, tables
from dpbench.report.utility_labels import NUMBER, label_cells

_CROWDED = 40
"""Points beyond which intervals are drawn faintly."""

TITLE = "Which privacy defense is worth the accuracy it costs?"
CAPTION = (
    "Each point is one defense at one strength. To the right, models are more accurate; lower "
    "down, the best attack finds less. Lines join one defense from its strongest to its "
    "weakest setting. The short dashes above a point are limits: with the guarantee of that "
    "point no attack, known or unknown, can lie above the dark dash. The pale dash is what "
    "follows from (ε, δ) alone, which is far less than the mechanism itself guarantees."
)


def utility_privacy(results: Results) -> Figure | None:
    """Draws every finished cell: accuracy to the right, advantage of its best attack upwards.

    Cells of one family are joined in the order of their strength. The limit that a mechanism's
    guarantee puts on any attack is a dash above its point.

    Returns:
        The figure, or None when no finished cell has both numbers.
    """
    run = tables(results)
    points = run.points.dropna(subset=["test_accuracy", "advantage"])
    if points.empty:
        return None
    look = looks(run.families)
    with house_style():
        # As tall as its legend, which has one line for each family and a few more.
        height = max(6.0, 0.215 * len(run.families) + 2.6)
        figure, (axes,) = canvas(results, TITLE, size=(9.6 if height == 6.0 else 11.5, height))
        _limit_axes(axes, points)
        _describe(axes, points)
        handles = [
            _family(axes, rows, look[str(family)], faint=len(points) > _CROWDED)
            for family, rows in points.groupby("defense", sort=False)
        ]
        handles += [_mark(" ", QUIET, " "), _mark("|", QUIET, "95 % interval", width=1.2)]
        handles += _limits(axes, points, look)
        handles += _alarms(axes, points)
        handles += _missing(len(run.cells) - len(points))
        legend_beside(axes, handles)
        label_cells(axes, points, look)
    return figure


def _limit_axes(axes: Axes, points: pd.DataFrame) -> None:
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


def _describe(axes: Axes, points: pd.DataFrame) -> None:
    axes.grid(True)
    axes.axhline(0, color="#444444", linewidth=0.8, zorder=1)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.4g} %"))
    axes.set_xlabel("test accuracy")
    axes.set_ylabel("advantage of the best attack\n0 = guessing, 1 = every member found")
    axes.set_title(
        "each point is one defense at one strength: right is useful, low is private", color=QUIET
    )
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


def _family(axes: Axes, rows: pd.DataFrame, look: Look, *, faint: bool) -> Line2D:
    family = str(rows["defense"].iloc[0])
    claimed = bool(np.isfinite(rows["epsilon"]).any())
    x, y = rows["test_accuracy"].to_numpy(), rows["advantage"].to_numpy()
    if len(rows) > 1 and (claimed or _is_sweep(rows)):
        width, alpha = (1.8, 1.0) if claimed else (1.0, 0.45)
        axes.plot(x, y, color=look.color, linewidth=width, alpha=alpha, zorder=2)
    axes.errorbar(
        x,
        y,
        xerr=_reach(rows, "test_accuracy"),
        yerr=_reach(rows, "advantage"),
        fmt=look.marker,
        color=look.color,
        markersize=15 if family == "none" else 7,
        markeredgecolor="white",
        markeredgewidth=0.8,
        elinewidth=0.7 if faint else 1.1,
        ecolor=(look.color, 0.4) if faint else None,
        zorder=5 if family == "none" else 4,
    )
    name = "undefended" if family == "none" else drawable(family, limit=32)
    return _mark(look.marker, look.color, name, size=11 if family == "none" else 6, width=0)


def _is_sweep(rows: pd.DataFrame) -> bool:
    """Tells whether the family sweeps one number: only then a line has a meaning."""
    return all(NUMBER.fullmatch(strength) for strength in rows["strength"])


def _reach(rows: pd.DataFrame, column: str) -> Floats:
    """Returns `(2, n)` distances to the ends of the interval, NaN where there is none."""
    value = rows[column].to_numpy()
    low, high = rows[f"{column}_low"].to_numpy(), rows[f"{column}_high"].to_numpy()
    return np.stack([np.maximum(value - low, 0), np.maximum(high - value, 0)])


def _limits(axes: Axes, points: pd.DataFrame, look: dict[str, Look]) -> list[Line2D]:
    """Draws each guarantee as a dash, or as an arrow head at the edge when it is off the chart."""
    top = axes.get_ylim()[1]
    handles: dict[str, Line2D] = {}
    for column, alpha, label in (
        (
            "bound_advantage_mechanism",
            1.0,
            "the most any attack can find:\nthe mechanism's own bound",
        ),
        ("bound_advantage_epsilon", 0.4, "the bound from (ε, δ) alone"),
    ):
        for row in records(points[np.isfinite(points["epsilon"])]):
            x, bound, color = row["test_accuracy"], row[column], look[row["defense"]].color
            above = bound >= min(top, 1.0)
            if math.isnan(bound) or (above and alpha < 1):
                continue
            end, marker, size, width = (top, "^", 8, 0) if above else (bound, "_", 15, 2.4)
            stem = [row["advantage"], end]
            axes.plot([x, x], stem, ":", color=color, alpha=alpha, linewidth=1.0, zorder=2)
            axes.plot(
                x,
                end,
                marker,
                color=color,
                alpha=alpha,
                markersize=size,
                markeredgewidth=width,
                clip_on=False,
                zorder=3,
            )
            name = "its bound is above the chart" if above else label
            size = 8 if above else 12
            handles[name] = _mark(marker, color, name, size=size, alpha=alpha, width=width)
    return sorted(handles.values(), key=lambda handle: handle.get_marker() == "^")


def _alarms(axes: Axes, points: pd.DataFrame) -> list[Line2D]:
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


def _missing(count: int) -> list[Line2D]:
    cells = "1 cell" if count == 1 else f"{count} cells"
    return [_mark(" ", QUIET, f"({cells} without numbers: see table)")] if count else []


def _mark(
    marker: str, color: str, label: str, *, size: float = 12, alpha: float = 1.0, width: float = 2.4
) -> Line2D:
    mark = Line2D([], [], color=color, marker=marker, alpha=alpha, linewidth=0, label=label)
    mark.set_markersize(size)
    mark.set_markeredgewidth(width)
    return mark
