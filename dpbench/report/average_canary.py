"""What the average case hides: the best attack on ordinary examples against that on canaries."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from dpbench.report.canvas import canvas, drawable, house_style, legend_beside, settle
from dpbench.report.palette import QUIET, Look, looks
from dpbench.report.results import Results, Tables, tables

APART = 0.15
FLOOR = 1e-4
RATE = "tpr_at_fpr_0.001"
TITLE = "Whom does the defense leave behind?"
CAPTION = (
    "Hollow: the best attack on ordinary examples of the pool. Filled: the best attack on the "
    "canaries, which stand for the examples that are hardest to protect. A long line is a defense "
    "that protects the average at the expense of the few; a guarantee holds for both ends. The "
    "axis is logarithmic; the dotted line is guessing."
)


def average_canary(results: Results) -> Figure | None:
    """Draws TPR at 0.1 % FPR on both tracks for every cell, joined by a line.

    Rates below 0.01 % sit on the axis's floor.

    Returns:
        The figure, or None when no cell has both.
    """
    run = tables(results)
    points = run.points.dropna(subset=[RATE, f"canary_{RATE}"]).reset_index(drop=True)
    if points.empty:
        return None
    look = looks(run.families)
    with house_style():
        figure, (axes,) = canvas(results, TITLE, size=(9.6, 2.0 + 0.25 * len(points)))
        _draw(axes, points, look)
        _frame(axes, points, look)
        legend_beside(axes, _legend(run))
        settle(figure)
    return figure


def _draw(axes: Axes, points: pd.DataFrame, look: dict[str, Look]) -> None:
    colors = [look[family].color for family in points["defense"]]
    rows = np.arange(len(points))
    # One above the other, so that the two intervals can be told apart.
    ends = {RATE: (rows - APART, "white"), f"canary_{RATE}": (rows + APART, None)}
    shown = points[list(ends)].clip(lower=FLOOR).to_numpy()
    for row, x in enumerate(shown):
        y = [height[row] for height, _ in ends.values()]
        axes.plot(x, y, color=colors[row], linewidth=2.2, alpha=0.35, solid_capstyle="round")
    for column, (name, (heights, face)) in enumerate(ends.items()):
        low, high = (points[f"{name}_{end}"].clip(lower=FLOOR) for end in ("low", "high"))
        axes.hlines(heights, low, high, color=colors, linewidth=1.1)
        axes.scatter(
            shown[:, column],
            heights,
            s=36,
            c=face or colors,
            edgecolors=colors,
            linewidths=1.2,
            zorder=3,
        )


def _frame(axes: Axes, points: pd.DataFrame, look: dict[str, Look]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(FLOOR * 0.85, 1.25)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.set_yticks(range(len(points)), [drawable(cell, limit=44) for cell in points["cell"]])
    for label, family in zip(axes.get_yticklabels(), points["defense"], strict=True):
        label.set_color(look[family].ink)
    axes.set_ylim(len(points) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.axvline(0.001, color="#444444", linewidth=0.9, linestyle=(0, (1, 2)), zorder=1)
    axes.grid(True, axis="x")
    axes.set_xlabel("TPR at 0.1 % FPR of the best attack, with 95 % interval")
    axes.set_title("a long line: the average hides what the few lose", color=QUIET)


def _legend(run: Tables) -> list[Line2D]:
    kind = run.canaries.replace("_", " ")
    return [
        Line2D([], [], color=QUIET, marker="o", linewidth=0, markerfacecolor=face, label=label)
        for face, label in (("white", "ordinary examples"), (QUIET, f"{kind} canaries"))
    ]
