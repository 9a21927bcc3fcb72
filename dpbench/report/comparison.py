"""The figure of a comparison: the new defense beside the line that DP-SGD draws."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dpbench.report.canvas import canvas, drawable, house_style, legend_beside
from dpbench.report.labels import Label, place_labels
from dpbench.report.palette import DP_SGD, OTHERS, QUIET, UNDEFENDED
from dpbench.report.results import Floats, Results

TITLE = "At equal accuracy, does it leak less?"
NOTE = "points.csv names the compared cells for whose names there is no room"
METRICS = {
    "tpr_at_fpr_0.001": "TPR at 0.1 % FPR",
    "tpr_at_fpr_0.01": "TPR at 1 % FPR",
    "advantage": "advantage (TPR - FPR)",
}
_TRACKS = {"canary": "canaries: the worst case", "average": "ordinary examples"}
_ROLES = {
    "other": ("other defenses", QUIET, "x"),
    "none": ("no defense", UNDEFENDED, "*"),
    "dp_sgd": ("DP-SGD, strict to loose", DP_SGD, "o"),
    "compared": ("compared", OTHERS[0], "D"),
}


def comparison(results: Results, points: pd.DataFrame) -> Figure:
    """Draws accuracy against leak, a column for each track and a row for two metrics.

    Args:
        results: The run that was compared in.
        points: Columns `cell`, `role`, `track`, `metric`, `accuracy` and `leak` with limits.
    """
    tracks = [track for track in _TRACKS if (points["track"] == track).any()]
    rows = {
        track: [m for m in METRICS if ((points["track"] == track) & (points["metric"] == m)).any()]
        for track in tracks
    }
    count = min(2, max(map(len, rows.values())))
    size = (4.4 * len(tracks) + 2.2, 3.4 * count + 1.0)
    drawn = []
    with house_style():
        figure, axes = canvas(results, TITLE, size=size, grid=(count, len(tracks)), note=NOTE)
        for column, track in enumerate(tracks):
            # The lowest FPR that can be resolved, and the advantage.
            shown = list(dict.fromkeys((rows[track][0], rows[track][-1])))
            for row in range(count):
                panel = axes[row * len(tracks) + column]
                if row >= len(shown):
                    panel.set_axis_off()
                    continue
                own = points[(points["track"] == track) & (points["metric"] == shown[row])]
                _panel(panel, own, METRICS[shown[row]], _TRACKS[track])
                drawn.append((panel, own))
        legend_beside(axes[len(tracks) - 1], _handles(points))
        # The legend takes its room from the panels, so labels are placed after it.
        for panel, own in drawn:
            _label(panel, own)
    return figure


def _panel(axes: Axes, points: pd.DataFrame, metric: str, track: str) -> None:
    for role, (_, color, marker) in _ROLES.items():
        own = points[points["role"] == role]
        if own.empty:
            continue
        faint = role == "other"
        axes.errorbar(
            own["accuracy"],
            own["leak"],
            xerr=(own["accuracy"] - own["accuracy_low"], own["accuracy_high"] - own["accuracy"]),
            yerr=(own["leak"] - own["leak_low"], own["leak_high"] - own["leak"]),
            color=color,
            marker=marker,
            markersize=9 if role == "none" else 5,
            linestyle="-" if role == "dp_sgd" else "none",
            linewidth=1.0,
            elinewidth=0.5 if faint else 0.9,
            alpha=0.45 if faint else 1.0,
            zorder=4 if role == "compared" else 2,
        )
    axes.set_title(track)
    axes.set_xlabel("test accuracy")
    axes.set_ylabel(metric)
    axes.margins(x=0.08)
    axes.grid(visible=True)


def _label(axes: Axes, points: pd.DataFrame) -> None:
    """Names the compared cells where there is room: no label covers another, or a point."""
    own = points[points["role"] == "compared"]
    family = _family(points)
    labels = [
        Label(
            x=float(x),
            y=float(y),
            text=drawable(_strength(str(cell)) if family else str(cell), limit=40),
            color=_ROLES["compared"][1],
            required=False,
        )
        for cell, x, y in zip(own["cell"], own["accuracy"], own["leak"], strict=True)
    ]
    place_labels(axes, labels, around=_ink(points), size=7.0)


def _family(points: pd.DataFrame) -> str:
    """Returns the one defense whose strengths are compared, or nothing."""
    cells = points.loc[points["role"] == "compared", "cell"].astype(str)
    names = {cell.partition("(")[0] for cell in cells if cell.endswith(")") and "+" not in cell}
    return names.pop() if len(names) == 1 and cells.str.endswith(")").all() else ""


def _strength(cell: str) -> str:
    return cell.partition("(")[2].removesuffix(")")


def _ink(points: pd.DataFrame) -> Floats:
    """Returns `(n, 2)` points that labels should not cover: markers, intervals, DP-SGD's line."""
    x, y = points["accuracy"], points["leak"]
    parts = np.linspace(0, 1, 9)
    ink = [
        (points["accuracy_low"] + p * (points["accuracy_high"] - points["accuracy_low"]), y)
        for p in parts
    ]
    ink += [(x, points["leak_low"] + p * (points["leak_high"] - points["leak_low"])) for p in parts]
    line = points[points["role"] == "dp_sgd"]
    along = [line["accuracy"], line["leak"]]
    ink += [tuple(one + p * one.diff() for one in along) for p in np.linspace(-1, 0, 20)]
    flat: Floats = np.concatenate([np.column_stack(pair) for pair in [*ink, (x, y)]])
    return flat[np.isfinite(flat).all(axis=1)]


def _handles(points: pd.DataFrame) -> list[Line2D]:
    family = _family(points)
    return [
        Line2D(
            [],
            [],
            color=color,
            marker=marker,
            linestyle="-" if role == "dp_sgd" else "none",
            label=f"{name}: {drawable(family, limit=40)}"
            if role == "compared" and family
            else name,
        )
        for role, (name, color, marker) in _ROLES.items()
        if (points["role"] == role).any()
    ]
