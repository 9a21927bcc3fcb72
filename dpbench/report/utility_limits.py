"""What guarantees put on any attack, beside the points of the headline figure."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from dpbench.report.palette import Look
from dpbench.report.results import epsilon_text, records

OWN = "the most any attack can find:\nthe mechanism's own bound"
WEAKER = "the bound from (ε, δ) alone"
ABOVE = "its bound is above the chart,\nat the value written there"
LABEL_ROOM = 62
"""Points above the axes that the labels of bounds off the chart need."""

_CLOSE = 0.026
"""Share of the axis within which labels at the edge are written together."""


class Beyond(NamedTuple):
    """A bound above the chart: where its cell is, what it is, and the cell's colour."""

    x: float
    text: str
    color: str


def draw_limits(axes: Axes, points: pd.DataFrame, look: dict[str, Look]) -> list[Line2D]:
    """Draws each guarantee's bound as a dash above its point, and returns the legend's entries.

    A bound off the chart is an arrow head on the top edge, with its epsilon and its value: at the
    height of another cell's bound it would be read as one of the same size.
    """
    top = axes.get_ylim()[1]
    low, high = axes.get_xlim()
    claims = points[np.isfinite(points["epsilon"]) & points["test_accuracy"].between(low, high)]
    handles: dict[str, Line2D] = {}
    beyond: list[Beyond] = []
    for row in records(claims):
        x, leak, color = row["test_accuracy"], row["advantage"], look[row["defense"]].color
        own, weaker = row["bound_advantage_mechanism"], row["bound_advantage_epsilon"]
        if weaker < min(top, 1.0):
            _stem(axes, x, leak, weaker, color, alpha=0.4)
            _dash(axes, x, weaker, color, alpha=0.4)
            handles[WEAKER] = mark("_", color, WEAKER, alpha=0.4)
        if math.isnan(own):
            continue
        _stem(axes, x, leak, min(own, top), color)
        if own < min(top, 1.0):
            _dash(axes, x, own, color)
            handles[OWN] = mark("_", color, OWN)
        else:
            axes.plot(x, top, "^", color=color, markersize=8, clip_on=False, zorder=3)
            handles[ABOVE] = mark("^", color, ABOVE, size=8, width=0)
            beyond.append(Beyond(x, f"ε={epsilon_text(row['epsilon'])}: {own:.2f}", color))
    _at_edge(axes, beyond)
    return [handles[name] for name in (OWN, WEAKER, ABOVE) if name in handles]


def mark(
    marker: str, color: str, label: str, *, size: float = 12, alpha: float = 1.0, width: float = 2.4
) -> Line2D:
    """Returns a legend's entry with a marker and no line."""
    entry = Line2D([], [], color=color, marker=marker, alpha=alpha, linewidth=0, label=label)
    entry.set_markersize(size)
    entry.set_markeredgewidth(width)
    return entry


def _stem(axes: Axes, x: float, low: float, high: float, color: str, *, alpha: float = 1.0) -> None:
    axes.plot([x, x], [low, high], ":", color=color, alpha=alpha, linewidth=1.0, zorder=2)


def _dash(axes: Axes, x: float, y: float, color: str, *, alpha: float = 1.0) -> None:
    (dash,) = axes.plot(x, y, "_", color=color, alpha=alpha, markersize=15, zorder=3)
    dash.set(markeredgewidth=2.4, clip_on=False)


def _at_edge(axes: Axes, beyond: list[Beyond]) -> None:
    """Writes the bounds off the chart above their arrow heads, close ones side by side."""
    near = _CLOSE * np.ptp(axes.get_xlim())
    together: list[list[Beyond]] = []
    for one in sorted(beyond):
        if together and one.x - together[-1][-1].x < near:
            together[-1].append(one)
        else:
            together.append([one])
    for some in together:
        axes.annotate(
            "\n".join(dict.fromkeys(one.text for one in some)),
            (sum(one.x for one in some) / len(some), 1.0),
            xytext=(0, 7),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=7.5,
            linespacing=1.05,
            color=some[0].color,
            annotation_clip=False,
        )
