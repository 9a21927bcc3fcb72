"""What an attacker gains by knowing the defense: static against adaptive attacks, cell by cell."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dpbench.report.canvas import canvas, drawable, house_style, legend_beside, settle
from dpbench.report.palette import QUIET, Look, looks
from dpbench.report.results import Results, Row, Tables, records, strongest, tables

APART = 0.15
TITLE = "Does the defense hold once the attacker knows it?"
CAPTION = (
    "Hollow: the attacker prepared on undefended models. Filled: it prepared on models with "
    "the same defense. Only the filled point says what the defense protects."
)


def static_adaptive(results: Results) -> Figure | None:
    """Draws the best static and the best adaptive attack of every cell, joined by a line.

    A long line is a defense that looks better against a static attacker than it is. Where the run
    has no `best` row of a kind, the cell's largest advantage of that kind stands in.

    Returns:
        The figure, or None when no cell has both.
    """
    run = tables(results)
    pairs = _pairs(run)
    if pairs.empty:
        return None
    look = looks(run.families)
    with house_style():
        figure, (axes,) = canvas(results, TITLE, size=(9.6, 2.0 + 0.25 * len(pairs)))
        _draw(axes, pairs, look)
        _frame(axes, pairs, look)
        legend_beside(axes, _legend())
        settle(figure)
    return figure


def _pairs(run: Tables) -> pd.DataFrame:
    rows = []
    for cell in records(run.cells[run.cells["status"] == "done"]):
        pair = {kind: _best(run, cell["cell"], kind) for kind in ("static", "adaptive")}
        if all(one is not None for one in pair.values()):
            rows.append(
                {"cell": cell["cell"], "defense": cell["defense"]}
                | {
                    f"{kind}{end}": one[f"advantage{end}"]
                    for kind, one in pair.items()
                    if one is not None
                    for end in ("", "_low", "_high")
                }
            )
    return pd.DataFrame(rows)


def _best(run: Tables, cell: str, kind: str) -> Row | None:
    best = run.best[(run.best["cell"] == cell) & (run.best["knowledge"] == kind)]
    best = best.dropna(subset=["advantage"])
    return strongest(run, cell, knowledge=kind) if best.empty else records(best)[0]


def _frame(axes: Axes, pairs: pd.DataFrame, look: dict[str, Look]) -> None:
    axes.set_yticks(range(len(pairs)), [drawable(cell, limit=44) for cell in pairs["cell"]])
    for label, family in zip(axes.get_yticklabels(), pairs["defense"], strict=True):
        label.set_color(look[family].ink)
    axes.set_ylim(len(pairs) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.axvline(0, color="#444444", linewidth=0.8, zorder=1)
    axes.grid(True, axis="x")
    axes.set_xlabel("advantage of the best attack, with 95 % interval")
    axes.set_title("a long line: a static attacker finds much less than there is", color=QUIET)


def _draw(axes: Axes, pairs: pd.DataFrame, look: dict[str, Look]) -> None:
    colors = [look[family].color for family in pairs["defense"]]
    rows = np.arange(len(pairs))
    # One above the other, so that the two intervals can be told apart.
    heights = {"static": rows - APART, "adaptive": rows + APART}
    for row, x in enumerate(pairs[["static", "adaptive"]].to_numpy()):
        y = [height[row] for height in heights.values()]
        axes.plot(x, y, color=colors[row], linewidth=2.2, alpha=0.35, solid_capstyle="round")
    for kind, face in (("static", "white"), ("adaptive", None)):
        ends = pairs[f"{kind}_low"], pairs[f"{kind}_high"]
        axes.hlines(heights[kind], *ends, color=colors, linewidth=1.1)
        axes.scatter(
            pairs[kind],
            heights[kind],
            s=36,
            c=face or colors,
            edgecolors=colors,
            linewidths=1.2,
            zorder=3,
        )


def _legend() -> list[Line2D]:
    return [
        Line2D([], [], color=QUIET, marker="o", linewidth=0, markerfacecolor=face, label=label)
        for face, label in (
            ("white", "static: the attacker trains\nwithout the defense"),
            (QUIET, "adaptive: the attacker trains\nwith the defense"),
        )
    ]
