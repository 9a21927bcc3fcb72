"""The headline figure: test accuracy against what the best attack finds, below theory's limit."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from dpbench.report.canvas import canvas, drawable, house_style, legend_beside
from dpbench.report.labels import Label, place_labels
from dpbench.report.palette import ALARM, FAINT, QUIET, Look, looks
from dpbench.report.results import Floats, Results, records, tables

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
        figure, (axes,) = canvas(results, TITLE, size=(9.6, 6.0))
        _frame(axes, points)
        for family, rows in points.groupby("defense", sort=False):
            _family(axes, rows, look[str(family)])
        _limits(axes, points, look)
        _alarms(axes, points)
        handles = _legend(points, look, missing=len(run.cells) - len(points))
        legend_beside(axes, handles)
        _labels(axes, points, look)
    return figure


def _frame(axes: Axes, points: pd.DataFrame) -> None:
    """Sets limits from what was measured: bounds may lie off the chart, points may not."""
    highest = float(np.nanmax(points[["advantage", "advantage_high"]].to_numpy()))
    lowest = float(np.nanmin(points[["advantage", "advantage_low"]].to_numpy()))
    bounds = points["bound_advantage_mechanism"][np.isfinite(points["epsilon"])].dropna()
    near = (
        bounds[bounds <= 1.25 * highest]
        if (bounds <= 1.25 * highest).any()
        else bounds.nsmallest(1)
    )
    top = min(1.03, 1.1 * max(1.12 * highest, 0.02, *near))
    axes.set_ylim(min(lowest, 0.0) - 0.04 * top, top)
    accuracies = points[["test_accuracy", "test_accuracy_low", "test_accuracy_high"]].to_numpy()
    low, high = float(np.nanmin(accuracies)), float(np.nanmax(accuracies))
    pad = max(0.06 * (high - low), 0.005)
    axes.set_xlim(low - 1.6 * pad, high + 3.0 * pad)
    axes.grid(True)
    axes.axhline(0, color="#444444", linewidth=0.8, zorder=1)
    digits = 0 if high - low > 0.04 else 1
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.{digits}f} %"))
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
        color=QUIET,
        textcoords="offset points",
        ha="right",
        fontsize=11,
        style="italic",
    )
    undefended = points[points["defense"] == "none"]
    for row in records(undefended):
        axes.axvline(row["test_accuracy"], color=FAINT, linewidth=1.0, zorder=1)
        axes.axhline(row["advantage"], color=FAINT, linewidth=1.0, zorder=1)


def _family(axes: Axes, rows: pd.DataFrame, look: Look) -> None:
    claimed = _is_claimed(rows)
    if len(rows) > 1:
        axes.plot(
            rows["test_accuracy"],
            rows["advantage"],
            color=look.color,
            zorder=2,
            linewidth=1.8 if claimed else 1.0,
            alpha=1.0 if claimed else 0.45,
        )
    axes.errorbar(
        rows["test_accuracy"],
        rows["advantage"],
        xerr=_reach(rows, "test_accuracy"),
        yerr=_reach(rows, "advantage"),
        fmt=look.marker,
        color=look.color,
        markersize=19 if look.marker == "*" else 7,
        markeredgecolor="white",
        markeredgewidth=0.8,
        elinewidth=1.1,
        zorder=4,
    )


def _reach(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Returns `(2, n)` distances to the ends of the interval, NaN where there is none."""
    value = rows[column].to_numpy()
    low, high = rows[f"{column}_low"].to_numpy(), rows[f"{column}_high"].to_numpy()
    return np.stack([np.maximum(value - low, 0), np.maximum(high - value, 0)])


def _is_claimed(rows: pd.DataFrame) -> bool:
    return bool(np.isfinite(rows["epsilon"]).any())


def _limits(axes: Axes, points: pd.DataFrame, look: dict[str, Look]) -> None:
    """Draws each guarantee as a dash, or as an arrow head at the edge when it is off the chart."""
    top = axes.get_ylim()[1]
    for row in records(points[np.isfinite(points["epsilon"])]):
        x, color = row["test_accuracy"], look[row["defense"]].color
        bounds = ((row["bound_advantage_mechanism"], 1.0), (row["bound_advantage_epsilon"], 0.4))
        for bound, alpha in bounds:
            marker = "_" if bound < min(top, 1.0) else "^" if alpha == 1 else ""
            if not marker or math.isnan(bound):
                continue
            end = min(bound, top)
            axes.plot(
                [x, x],
                [row["advantage"], end],
                ":",
                color=color,
                alpha=alpha,
                linewidth=1.0,
                zorder=2,
            )
            axes.plot(
                x,
                end,
                marker,
                color=color,
                alpha=alpha,
                clip_on=False,
                markersize=15 if marker == "_" else 8,
                markeredgewidth=2.4 if marker == "_" else 0,
                zorder=3,
            )


def _alarms(axes: Axes, points: pd.DataFrame) -> None:
    violating = points[points["violates_bound"].eq(True)]
    if not violating.empty:
        axes.plot(
            violating["test_accuracy"],
            violating["advantage"],
            "o",
            markersize=17,
            fillstyle="none",
            color=ALARM,
            markeredgewidth=2.0,
            zorder=5,
            label="violates its bound",
        )


def _legend(points: pd.DataFrame, look: dict[str, Look], *, missing: int) -> list[Line2D]:
    handles = [
        Line2D(
            [],
            [],
            color=look[family].color,
            marker=look[family].marker,
            linewidth=0,
            markersize=13 if family == "none" else 7,
            markeredgecolor="white",
            label=drawable("undefended" if family == "none" else family, limit=32),
        )
        for family in dict.fromkeys(points["defense"])
    ]
    blank = Line2D([], [], linewidth=0, label=" ")
    handles += [blank, _mark("|", QUIET, "95 % interval", width=1.2)]
    claimed = points[np.isfinite(points["epsilon"])]
    if not claimed.empty:
        color = look[claimed["defense"].iloc[0]].color
        handles += [
            _mark("_", color, "the most any attack can find:\nthe mechanism's own bound"),
            _mark("_", color, "the same, from (ε, δ) alone", alpha=0.4),
            _mark("^", color, "limit is above the chart"),
        ]
    if points["violates_bound"].eq(True).any():
        handles.append(
            Line2D(
                [],
                [],
                color=ALARM,
                marker="o",
                fillstyle="none",
                linewidth=0,
                markersize=10,
                label="violates its bound",
            )
        )
    if missing:
        cells = "1 cell" if missing == 1 else f"{missing} cells"
        handles.append(Line2D([], [], linewidth=0, label=f"({cells} without numbers: see table)"))
    return handles


def _mark(marker: str, color: str, label: str, *, alpha: float = 1.0, width: float = 2.4) -> Line2D:
    size = 5 if marker == "^" else 12
    return Line2D(
        [],
        [],
        color=color,
        marker=marker,
        alpha=alpha,
        linewidth=0,
        markersize=size,
        markeredgewidth=width,
        label=label,
    )


def _labels(axes: Axes, points: pd.DataFrame, look: dict[str, Look]) -> None:
    """Labels the undefended cell and every guarantee; other cells where there is room."""
    wanted = []
    for row in records(points):
        family, strength = str(row["defense"]), str(row["strength"])
        text = {"": family, "ε=∞": "ε=∞ (clip only)"}.get(strength, strength)
        required = family == "none" or strength.startswith("ε=")
        wanted.append(
            Label(
                x=row["test_accuracy"],
                y=row["advantage"],
                text="undefended" if family == "none" else drawable(text, limit=24),
                color=look[family].ink,
                required=required,
                weight="bold" if required else "normal",
            )
        )
    wanted.sort(key=lambda label: not label.required)
    zero = np.column_stack([np.linspace(*axes.get_xlim(), 100), np.zeros(100)])
    ink = np.concatenate([zero, _ink(points, top=axes.get_ylim()[1])])
    place_labels(axes, _merged(wanted, axes), around=ink)


def _merged(labels: list[Label], axes: Axes) -> list[Label]:
    """Gives points that lie on top of each other one label: maskers often change nothing at all."""
    near_x, near_y = 0.012 * np.ptp(axes.get_xlim()), 0.025 * np.ptp(axes.get_ylim())
    merged: list[Label] = []
    for label in labels:
        for index, other in enumerate(merged):
            close = abs(other.x - label.x) < near_x and abs(other.y - label.y) < near_y
            if close and not label.required and len(other.text) < 40:
                merged[index] = other._replace(text=f"{other.text}\n{label.text}")
                break
        else:
            merged.append(label)
    return merged


def _ink(points: pd.DataFrame, *, top: float) -> Floats:
    """Returns `(n, 2)` points that labels should not cover: markers, intervals, limits, lines."""
    x, y = points["test_accuracy"], points["advantage"]
    ink = [
        *((x, points[column]) for column in ("advantage", "advantage_low", "advantage_high")),
        *((points[column], y) for column in ("test_accuracy_low", "test_accuracy_high")),
    ]
    limit = (
        points["bound_advantage_mechanism"].where(np.isfinite(points["epsilon"])).clip(upper=top)
    )
    ink += [(x, y + part * (limit - y)) for part in np.linspace(0, 1, 40)]
    for _, rows in points.groupby("defense", sort=False):
        along_x, along_y = rows["test_accuracy"], rows["advantage"]
        ink += [
            (along_x + part * along_x.diff(), along_y + part * along_y.diff())
            for part in np.linspace(-1, 0, 20)
        ]
    flat: Floats = np.concatenate([np.column_stack(pair) for pair in ink])
    return flat[np.isfinite(flat).all(axis=1)]
