"""The headline figure of a run with many families: kinds of defenses, and the crowd enlarged."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from dpbench.report.canvas import canvas, legend_beside
from dpbench.report.groups import GROUPS, OTHERS, group_of
from dpbench.report.palette import FAINT, QUIET, group_look
from dpbench.report.results import Results
from dpbench.report.utility_axes import alarms, describe, draw_points, interval_mark, limit_axes
from dpbench.report.utility_labels import label_cells
from dpbench.report.utility_limits import draw_limits, mark

COST = 0.05
"""Accuracy lost, at most, by the cells of the panel that enlarges."""

DP_SGD = "dp_sgd"
_GREY = "#B4B4B4"
_FEWEST = 4
"""Cells without which there is nothing to enlarge."""


def by_kind(
    results: Results, points: pd.DataFrame, title: str, lost: list[Line2D]
) -> Figure | None:
    """Draws cells in the colour of their kind where no other of the kind outdoes them, else grey.

    Args:
        results: The run.
        points: Its finished cells.
        title: The question that the figure answers.
        lost: The legend's entry of cells without numbers, if there are any.
    """
    points = points.assign(kind=[group_of(family) for family in points["defense"]])
    # DP-SGD is what all others are measured by: its whole line stays.
    points = points.assign(first=_undominated(points) | (points["defense"] == DP_SGD))
    near = _affordable(points)
    figure, panels = canvas(results, title, size=(15.0, 7.4), grid=(1, 1 if near is None else 2))
    parts = [points] if near is None else [points, near]
    titles = ("every cell", f"enlarged: at most {100 * COST:g} points of accuracy lost")
    for axes, part, text in zip(panels, parts, titles, strict=False):
        limit_axes(axes, part)
        describe(axes, part, text)
        _draw(axes, part)
    handles = [*_kinds(points), mark(" ", QUIET, " "), interval_mark()]
    shown = {family: group_look(group_of(family)) for family in points["defense"]}
    limits = [draw_limits(axes, part, shown) for axes, part in zip(panels, parts, strict=False)]
    entries = {one.get_label(): one for some in limits for one in some}
    circles = [alarms(axes, part) for axes, part in zip(panels, parts, strict=False)]
    legend_beside(panels[-1], [*handles, *entries.values(), *circles[0], *lost])
    if near is not None:
        _frame_of(panels[0], panels[1])
        panels[1].set_ylabel("")
    named = [points[points["first"]], near[near["first"]] if near is not None else points[:0]]
    if near is not None:
        named[0] = named[0][~named[0]["cell"].isin(near["cell"])]
    for axes, part, some in zip(panels, parts, named, strict=False):
        label_cells(axes, part, shown, named=some)
    return figure


def _undominated(points: pd.DataFrame) -> "pd.Series[bool]":
    """Tells which cells no other of their kind matches in accuracy with less leak."""
    flags = []
    for row in points.itertuples():
        same = points[(points["kind"] == row.kind) & (points.index != row.Index)]
        better = (same["test_accuracy"] >= row.test_accuracy) & (same["advantage"] < row.advantage)
        equal = (same["test_accuracy"] > row.test_accuracy) & (same["advantage"] == row.advantage)
        flags.append(not (better | equal).any())
    return pd.Series(flags, index=points.index, dtype=bool)


def _affordable(points: pd.DataFrame) -> pd.DataFrame | None:
    """Returns the cells that cost little accuracy, unless they are few, or all."""
    undefended = points.loc[points["kind"] == "none", "test_accuracy"]
    reference = undefended.max() if len(undefended) else points["test_accuracy"].max()
    near = points[points["test_accuracy"] >= reference - COST]
    return near if _FEWEST <= len(near) < len(points) else None


def _draw(axes: Axes, points: pd.DataFrame) -> None:
    for kind, rows in points.groupby("kind", sort=False):
        look = group_look(str(kind))
        for first, some in rows.groupby("first"):
            color, order = (look.color, {}) if first else (_GREY, {"zorder": 3, "markersize": 5.5})
            draw_points(axes, some, color=color, marker=look.marker, faint=True, **order)
    line = points[points["defense"] == DP_SGD].sort_values("epsilon", kind="stable")
    axes.plot(
        line["test_accuracy"],
        line["advantage"],
        color=group_look(group_of(DP_SGD)).color,
        linewidth=1.5,
        alpha=0.6,
        zorder=2,
    )


def _frame_of(axes: Axes, enlarged: Axes) -> None:
    """Draws on the first panel what the second one shows."""
    (left, right), (bottom, top) = enlarged.get_xlim(), enlarged.get_ylim()
    top = min(top, axes.get_ylim()[1])
    axes.add_patch(
        Rectangle(
            (left, bottom),
            right - left,
            top - bottom,
            facecolor="none",
            edgecolor=FAINT,
            linewidth=1.2,
            zorder=1.5,
        )
    )


def _kinds(points: pd.DataFrame) -> list[Line2D]:
    families = points.groupby("kind")["defense"].nunique()
    handles = [mark("*", group_look("none").color, "undefended", size=11, width=0)]
    for kind in (*GROUPS, OTHERS):
        if kind in families.index:
            look, count = group_look(kind), int(families[kind])
            text = f"{kind} ({count} {'family' if count == 1 else 'families'})"
            handles.append(mark(look.marker, look.color, text, size=6, width=0))
    if not np.all(points["first"]):
        text = "grey: another of its kind is as\naccurate and leaks less"
        handles.append(mark("s", _GREY, text, size=5.5, width=0))
    return handles
