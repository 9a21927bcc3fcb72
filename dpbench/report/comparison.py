"""The figure of a comparison: the new defense beside the line that DP-SGD draws."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from dpbench.report.canvas import canvas, drawable, house_style, legend_beside
from dpbench.report.palette import DP_SGD, OTHERS, QUIET, UNDEFENDED
from dpbench.report.results import Results

TITLE = "At equal accuracy, does it leak less?"
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
    with house_style():
        figure, axes = canvas(results, TITLE, size=size, grid=(count, len(tracks)))
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
        legend_beside(axes[len(tracks) - 1], _handles(points))
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
        if role == "compared":
            for _, one in own.iterrows():
                axes.annotate(
                    drawable(str(one["cell"]), limit=40),
                    (one["accuracy"], one["leak"]),
                    xytext=(5, 5),
                    textcoords="offset points",
                    fontsize=7,
                    color=color,
                    path_effects=[withStroke(linewidth=2.5, foreground="white")],
                )
    axes.set_title(track)
    axes.set_xlabel("test accuracy")
    axes.set_ylabel(metric)
    axes.margins(x=0.08)
    axes.grid(visible=True)


def _handles(points: pd.DataFrame) -> list[Line2D]:
    return [
        Line2D(
            [],
            [],
            color=color,
            marker=marker,
            linestyle="-" if role == "dp_sgd" else "none",
            label=name,
        )
        for role, (name, color, marker) in _ROLES.items()
        if (points["role"] == role).any()
    ]
