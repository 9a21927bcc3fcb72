"""ROC curves on logarithmic axes: what a few false alarms buy, and what theory allows."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from dpbench.errors import UserError
from dpbench.metrics import roc as roc_curve
from dpbench.report.canvas import canvas, drawable, house_style, legend_beside, settle
from dpbench.report.palette import DP_SGD, QUIET, UNDEFENDED, looks
from dpbench.report.results import Bools, Floats, Results, Row, Tables, records, strongest, tables

TITLE = "Who is caught without false alarms?"
CAPTION = (
    "An attacker who must not raise false alarms works at the left edge. A curve above the "
    "dotted line there names members with confidence, even where its advantage is small. "
    "Equal scores are guessed at random: there the curve is a straight line, bent by the axes. "
    "Dashed curves are the limits of the mechanisms of the same colour. A curve ends at the "
    "left where there are too few non-members to measure further."
)
FLOOR = 1e-4
VERTICES = 240
SHADES = ["#7DBBE6", DP_SGD, "#002F4D"]  # of the blue of guarantees, strongest first


class Curve(NamedTuple):
    """One cell on the ROC plot: its id, how it is named there, and its colour."""

    cell: str
    name: str
    color: str


def roc(results: Results) -> Figure | None:
    """Draws the strongest adaptive attack on a few telling cells.

    The cells: undefended; the smallest, the middle and the largest finite epsilon; and the
    defense without a guarantee whose test accuracy minus advantage is largest. A curve starts at
    the smallest FPR that its non-members resolve. Bars at 1 % and 0.1 % FPR are 95 % intervals.

    Returns:
        The figure, or None when no chosen cell has an attack, or none of them has stored scores.
    """
    run = tables(results)
    curves = [curve for curve in _chosen(run) if strongest(run, curve.cell) is not None]
    if not curves:
        return None
    with house_style():
        figure, (axes,) = canvas(results, TITLE, size=(9.2, 6.0), note=NOTE)
        _frame(axes)
        handles: list[Line2D] = []
        for curve in curves:
            handles += _draw(axes, results, run, curve)
        if not handles:
            return None
        legend_beside(axes, [*handles, *_guides(axes)])
        settle(figure)
    return figure


NOTE = "Thresholds swept over the evaluated scores themselves (oracle): for comparing shapes."


def _chosen(run: Tables) -> list[Curve]:
    points = run.points
    curves = [
        Curve(str(cell), "undefended", UNDEFENDED)
        for cell in points.loc[points["defense"] == "none", "cell"][:1]
    ]
    claims = points[np.isfinite(points["epsilon"])].drop_duplicates("epsilon")
    claims = claims.sort_values("epsilon", kind="stable")
    picks = claims.iloc[sorted({0, len(claims) // 2, len(claims) - 1} & set(range(len(claims))))]
    shades = {0: [], 1: [DP_SGD], 2: SHADES[::2]}.get(len(picks), SHADES)
    curves += [
        Curve(row["cell"], f"{row['defense']} {row['strength']}", shade)
        for row, shade in zip(records(picks), shades, strict=True)
    ]
    heuristic = _best_heuristic(points)
    if heuristic is not None:
        color = looks(run.families)[heuristic["defense"]].color
        curves.append(Curve(str(heuristic["cell"]), str(heuristic["cell"]), color))
    return curves


def _best_heuristic(points: pd.DataFrame) -> Row | None:
    claimed = points.loc[np.isfinite(points["epsilon"]), "defense"]
    rest = points[(points["defense"] != "none") & ~points["defense"].isin(claimed)]
    rest = rest.dropna(subset=["test_accuracy", "advantage"])
    return max(
        records(rest),
        key=lambda row: float(row["test_accuracy"]) - float(row["advantage"]),
        default=None,
    )


def _frame(axes: Axes) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(FLOOR, 1)
    axes.set_ylim(FLOOR, 1.08)
    percent = FuncFormatter(lambda value, _: f"{100 * value:g} %")
    axes.xaxis.set_major_formatter(percent)
    axes.yaxis.set_major_formatter(percent)
    axes.grid(True)
    axes.set_xlabel("false positive rate: non-members called members")
    axes.set_ylabel("true positive rate: members found")
    axes.set_title(
        "solid: measured, strongest adaptive attack; dashed: the mechanism's limit", color=QUIET
    )
    axes.plot([FLOOR, 1], [FLOOR, 1], ":", color=QUIET, linewidth=1.2, zorder=1)


def _draw(axes: Axes, results: Results, run: Tables, curve: Curve) -> list[Line2D]:
    row = strongest(run, curve.cell)
    assert row is not None
    try:
        scores, members = results.scores(
            curve.cell, row["attack"], knowledge="adaptive", params=row["attack_params"]
        )
    except UserError:  # the tables of a run may be published without its scores
        return []
    fpr, tpr = vertices(scores, members)
    (line,) = axes.plot(
        fpr,
        np.where(tpr > 0, tpr, np.nan),
        color=curve.color,
        linewidth=2.0,
        label=f"{drawable(curve.name, limit=40)}\n  by {drawable(row['label'], limit=36)}",
        zorder=4,
    )
    allowed = results.trade_off(curve.cell, fpr)
    if allowed is not None:
        axes.plot(fpr, allowed, "--", color=curve.color, linewidth=1.3, zorder=3)
    for at in (0.01, 0.001):
        column = f"tpr_at_fpr_{at:g}"
        low, high = row[f"{column}_low"], row[f"{column}_high"]
        if np.isfinite([low, high]).all():
            axes.vlines(
                at, max(low, FLOOR), max(high, FLOOR), color=curve.color, linewidth=3.5, alpha=0.45
            )
    return [line]


def vertices(scores: Floats, members: Bools, count: int = VERTICES) -> tuple[Floats, Floats]:
    """Returns (fpr, tpr) at `count` FPRs from that of one false positive to 1, and at few corners.

    Equal scores are guessed at random, so the curve is straight between neighbouring vertices. On
    logarithmic axes such a chord is bent: it needs points of its own, not its two ends alone.
    A curve of hundreds of thousands of scores has as many vertices, which no figure can show.
    """
    curve = roc_curve(scores, members)
    negatives, positives = max(curve.negatives, 1), max(curve.positives, 1)
    smallest = max(FLOOR, 1 / negatives)
    fpr = np.geomspace(smallest, 1, count)
    fpr[-1] = 1.0
    rates = curve.fp / negatives
    corners = np.unique(rates)
    if len(corners) <= count:
        fpr = np.union1d(fpr, corners[corners >= smallest])
    # Where the curve rises straight up, `interp` reads the upper of the vertices at that FPR, and
    # goes on from it: the largest TPR that the FPR allows.
    return fpr, np.interp(fpr, rates, curve.tp / positives)


def _guides(axes: Axes) -> list[Line2D]:
    guides = [
        Line2D([], [], color=QUIET, linestyle=":", linewidth=1.2, label="guessing"),
        Line2D([], [], color=QUIET, linewidth=6, alpha=0.45, label="95 % intervals of the rates"),
    ]
    if any(line.get_linestyle() == "--" for line in axes.lines):
        label = "the mechanism's limit"
        guides.insert(0, Line2D([], [], color=QUIET, linestyle="--", linewidth=1.3, label=label))
    return [Line2D([], [], linewidth=0, label=" "), *guides]
