"""The headline figure: test accuracy against what the best attack finds, below theory's limit."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dpbench.report.canvas import canvas, drawable, house_style, legend_beside
from dpbench.report.groups import grouped
from dpbench.report.palette import QUIET, Look, looks
from dpbench.report.results import Results, tables
from dpbench.report.utility_axes import (
    alarms,
    describe,
    draw_points,
    interval_mark,
    limit_axes,
    missing,
)
from dpbench.report.utility_kinds import by_kind
from dpbench.report.utility_labels import NUMBER, label_cells
from dpbench.report.utility_limits import draw_limits, mark

_CROWDED = 40
"""Points beyond which intervals are drawn faintly."""

TITLE = "Which privacy defense is worth the accuracy it costs?"
CAPTION = (
    "Each point is one defense at one strength. To the right, models are more accurate; lower "
    "down, the best attack finds less. Lines join one defense from its strongest to its "
    "weakest setting. The short dashes above a point are limits: with the guarantee of that "
    "point no attack, known or unknown, can lie above the dark dash. The pale dash is what "
    "follows from (ε, δ) alone, which is far less than the mechanism itself guarantees. An arrow "
    "head on the top edge is a limit that lies above the chart: its ε and its value stand there. "
    "A run of many defenses has a colour for each kind of them, and a panel that enlarges the "
    "cells that cost little accuracy; grey cells are those that another of their kind outdoes."
)
EACH = "each point is one defense at one strength: right is useful, low is private"


def utility_privacy(results: Results) -> Figure | None:
    """Draws every finished cell: accuracy to the right, advantage of its best attack upwards.

    Cells of one family are joined in the order of their strength. The limit that a mechanism's
    guarantee puts on any attack is a dash above its point. A run of many families is drawn by kinds
    of defenses, with a second panel that enlarges the cells that cost little accuracy.

    Returns:
        The figure, or None when no finished cell has both numbers.
    """
    run = tables(results)
    points = run.points.dropna(subset=["test_accuracy", "advantage"])
    if points.empty:
        return None
    lost = missing(len(run.cells) - len(points))
    with house_style():
        if grouped(run.families):
            return by_kind(results, points, TITLE, lost)
        look = looks(run.families)
        figure, (axes,) = canvas(results, TITLE, size=(9.6, 6.6))
        limit_axes(axes, points)
        describe(axes, points, EACH)
        handles = [
            _family(axes, rows, look[str(family)], faint=len(points) > _CROWDED)
            for family, rows in points.groupby("defense", sort=False)
        ]
        handles += [mark(" ", QUIET, " "), interval_mark()]
        handles += draw_limits(axes, points, look)
        legend_beside(axes, [*handles, *alarms(axes, points), *lost])
        label_cells(axes, points, look)
    return figure


def _family(axes: Axes, rows: pd.DataFrame, look: Look, *, faint: bool) -> Line2D:
    family = str(rows["defense"].iloc[0])
    claimed = bool(np.isfinite(rows["epsilon"]).any())
    if len(rows) > 1 and (claimed or _is_sweep(rows)):
        width, alpha = (1.8, 1.0) if claimed else (1.0, 0.45)
        x, y = rows["test_accuracy"].to_numpy(), rows["advantage"].to_numpy()
        axes.plot(x, y, color=look.color, linewidth=width, alpha=alpha, zorder=2)
    draw_points(axes, rows, color=look.color, marker=look.marker, faint=faint)
    name = "undefended" if family == "none" else drawable(family, limit=32)
    return mark(look.marker, look.color, name, size=11 if family == "none" else 6, width=0)


def _is_sweep(rows: pd.DataFrame) -> bool:
    """Tells whether the family sweeps one number: only then a line has a meaning."""
    return all(NUMBER.fullmatch(strength) for strength in rows["strength"])
