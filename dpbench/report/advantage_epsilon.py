"""Advantage of every attack against epsilon, below four bounds: how much room theory leaves."""

import math
from collections import Counter
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from dpbench.privacy.bounds.bounds import accuracy_half_exp, advantage_yeom
from dpbench.privacy.bounds.bounds import advantage_epsilon as from_epsilon_delta
from dpbench.report.canvas import canvas, drawable, house_style, legend_beside, settle
from dpbench.report.palette import CANARY, DP_SGD, QUIET, THEORY
from dpbench.report.results import Floats, Results, Tables, epsilon_text, tables

TITLE = "How close do attacks come to what theory allows?"
CAPTION = (
    "The distance between the best attack and the lowest bound is what theory allows and "
    "nobody has found: the bound holds for the most exposed example that could exist, the "
    "attack is measured on ordinary ones. The bounds made of e^ε are historical, and say "
    "nothing from ε ≈ 0.7 on; the mechanism's own bound is the one to compare with. Between the "
    "bound of ε and δ and the best attack there is a gap; a percentage says how much of it the "
    "mechanism's own bound closes: at 90 % most of the gap was a loose formula, at 10 % most of "
    "it is room that no attack has filled. Drawn are the best attack, the best LiRA and the "
    "best attack that sees labels alone; the faint lines are all others. Both axes are logarithmic."
)
FLOOR = 1e-3
LIRA = "lira"
FAINT_LINE = "#C8C8C8"


def advantage_epsilon(results: Results) -> Figure | None:
    """Draws the attacks on the family with the most guarantees, on logarithmic axes.

    Both axes are logarithmic, because measured advantages of a hundredth and bounds near 1 must be
    read off one figure. Advantages below 0.001, negative ones too, sit on the floor as open
    triangles. A cell that only clips (epsilon is infinite) stands at the right edge, after a break.

    Returns:
        The figure, or None when no finished cell has a finite epsilon and an attack.
    """
    run = tables(results)
    cells = _claiming(run)
    measured = pd.concat([run.attacks, run.best]).dropna(subset=["advantage"])
    if cells.empty or not measured["cell"].isin(cells["cell"]).any():
        return None
    place = _places(cells["epsilon"].to_numpy())
    with house_style():
        figure, (axes,) = canvas(results, TITLE, size=(9.6, 6.2))
        _frame(axes, place)
        bounds = [*_formulas(axes, cells), *_own_bound(axes, run, cells)]
        attacks = _attacks(axes, run, cells, place)
        best = _best(axes, run, cells, place)
        shares = _share_closed(axes, run, cells)
        undefended = _undefended(axes, run)
        below = [_gap(), *best, *attacks, *undefended]
        legend_beside(axes, [*bounds, *shares, *below], handle_length=2.6)
        settle(figure)
    return figure


def _claiming(run: Tables) -> pd.DataFrame:
    """Returns the done cells of the family that has the most finite epsilons, one for each."""
    done = run.cells[run.cells["status"] == "done"]
    claims = done[np.isfinite(done["epsilon"]) & (done["epsilon"] > 0)]
    counts = Counter(claims["defense"])
    families = [family for family in counts if counts[family] == max(counts.values())]
    family = done[done["defense"].isin(families[:1]) & (done["epsilon"] > 0)]
    return family.drop_duplicates("epsilon")


def _places(epsilons: Floats) -> dict[float, float]:
    """Returns where each epsilon stands: at itself, and infinity beyond the largest."""
    finite = epsilons[np.isfinite(epsilons)]
    ratio = max(2.0, (finite.max() / finite.min()) ** 0.16)
    return {float(e): float(e) if math.isfinite(e) else finite.max() * ratio for e in epsilons}


def _frame(axes: Axes, place: dict[float, float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    low, high = min(place.values()), max(place.values())
    axes.set_xlim(low / 1.35, high * 1.35)
    axes.set_ylim(FLOOR * 0.85, 1.15)
    axes.xaxis.set_major_locator(FixedLocator(list(place.values())))
    axes.xaxis.set_minor_locator(NullLocator())
    names = [f"{epsilon_text(e)}\nclip only" if math.isinf(e) else epsilon_text(e) for e in place]
    axes.set_xticklabels(names)
    if math.inf in place:
        # The break lies halfway, on the logarithmic axis, between the last two places.
        middle = math.sqrt(high * sorted(place.values())[-2])
        axes.annotate(
            "//",
            (middle, 0),
            xycoords=("data", "axes fraction"),
            ha="center",
            va="center",
            fontsize=11,
            backgroundcolor="white",
            annotation_clip=False,
        )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(True, axis="y")
    axes.set_xlabel("ε of the guarantee")
    axes.set_ylabel("advantage (TPR − FPR)")
    axes.set_title(
        "lines above are what theory allows, lines below what attacks found", color=QUIET
    )


def _formulas(axes: Axes, cells: pd.DataFrame) -> list[Line2D]:
    """Draws the bounds that epsilon and delta give, up to 1, where they stop saying anything."""
    finite = cells.loc[np.isfinite(cells["epsilon"]), "epsilon"]
    curve = np.geomspace(finite.min() / 1.3, finite.max() * 1.15, 400)
    delta = float(np.nan_to_num(cells["delta"].max()))
    drawn: list[Line2D] = []
    for bound, dashes, width, label in (
        (2 * accuracy_half_exp(curve) - 1, (0, (1, 2.5)), 2.4, "accuracy ≤ e^ε/2, as advantage"),
        (advantage_yeom(curve), (1.75, (4, 3)), 1.1, "e^ε − 1 (the same line)"),
        (from_epsilon_delta(curve, delta), (0, (7, 2)), 1.5, "(e^ε − 1 + 2δ) / (e^ε + 1)"),
    ):
        inside = np.flatnonzero(bound < 1)
        stop = inside[-1] + 2 if len(inside) else 0
        (line,) = axes.plot(curve[:stop], bound[:stop], color=THEORY, linestyle=dashes, alpha=0.75)
        line.set_linewidth(width)
        line.set_label(label if stop else f"{label}: above 1 here")
        drawn.append(line)
    return drawn


def _own_bound(axes: Axes, run: Tables, cells: pd.DataFrame) -> list[Line2D]:
    """Draws the mechanism's own bound, and shades what no attack can reach.

    Canaries are played with another sampling rate: where that moves the bound they have their own.
    """
    own = cells[np.isfinite(cells["epsilon"])].dropna(subset=["bound_advantage_mechanism"])
    x, y = own["epsilon"].to_numpy(), own["bound_advantage_mechanism"].to_numpy()
    axes.fill_between(x, y, 1.15, color=THEORY, alpha=0.06, linewidth=0, zorder=0)
    lines = axes.plot(x, y, color=THEORY, linewidth=2.4, marker="_", markersize=12, zorder=3)
    lines[0].set_markeredgewidth(2.4)
    lines[0].set_label("the mechanism's own bound, δ(0)")
    canary = cells[np.isfinite(cells["canary_epsilon"])]
    apart = ~np.isclose(canary["canary_epsilon"], canary["epsilon"], rtol=1e-6)
    if run.canaries and apart.any():
        x, y = canary["canary_epsilon"], canary["canary_bound_advantage_mechanism"]
        lines += axes.plot(x, y, color=CANARY, linewidth=1.4, marker="_", linestyle=(0, (5, 2)))
        lines[1].set_label("the same on canaries, at their ε")
    return lines


class Stroke(NamedTuple):
    """How an attack is drawn; `edge` is the colour around its markers."""

    color: str | tuple[float, float, float]
    marker: str
    edge: str | tuple[float, float, float]
    style: Literal["-", "--"] = "-"
    width: float = 1.1
    size: float = 4.5
    alpha: float = 0.95

    def key(self, label: str) -> Line2D:
        """Returns the legend's entry."""
        return Line2D(
            [],
            [],
            color=self.color,
            marker=self.marker,
            linestyle=self.style,
            linewidth=self.width,
            markersize=self.size,
            label=label,
        )


def _attacks(
    axes: Axes, run: Tables, cells: pd.DataFrame, place: dict[float, float]
) -> list[Line2D]:
    """Draws the best LiRA and the best label-only attack, and all others faintly."""
    done = run.attacks[(run.attacks["status"] == "done") & run.attacks["advantage"].notna()]
    rows = done[done["compared"]].merge(cells[["cell", "epsilon"]], on="cell")
    strokes = {
        _strongest(rows[rows["attack"] == LIRA]): Stroke("#D55E00", "s", "#D55E00", width=1.6),
        _strongest(rows[rows["access"] == "label"]): Stroke("#009E73", "^", "#009E73", width=1.6),
    }
    strokes.pop("", None)
    others = Stroke(FAINT_LINE, "", FAINT_LINE, width=0.6, alpha=0.7)
    rest = rows[~rows["label"].isin(strokes)]
    for (_, knowledge), part in rest.groupby(["label", "knowledge"], sort=False):
        _faint(axes, part, place, others, style="-" if knowledge == "adaptive" else "--")
    handles = []
    # Side by side, so that intervals at one epsilon can be told apart.
    for shift, (name, adaptive) in zip((0.98, 1.02), strokes.items(), strict=False):
        static = adaptive._replace(style="--", size=3.0, alpha=0.55, width=1.1)
        for knowledge, stroke in (("static", static), ("adaptive", adaptive)):
            part = rows[(rows["label"] == name) & (rows["knowledge"] == knowledge)]
            _line(axes, part, place, stroke, shift=shift)
        sees = "the best LiRA" if (rows["attack"][rows["label"] == name] == LIRA).all() else LABELS
        handles.append(adaptive.key(f"{sees}:\n{drawable(name, limit=34)}"))
    count = rest["label"].nunique()
    if count:
        handles.append(others.key(f"{count} other attack{'' if count == 1 else 's'}"))
    if (rows["knowledge"] == "static").any():
        handles.append(Stroke(QUIET, "", QUIET, "--").key("dashed: the same, static"))
    return handles


LABELS = "the best that sees labels alone"


def _strongest(rows: pd.DataFrame) -> str:
    """Returns the label that finds most on average over the cells; empty where there is none."""
    adaptive = rows[rows["knowledge"] == "adaptive"]
    found = (rows if adaptive.empty else adaptive).groupby("label", sort=False)["advantage"].mean()
    return "" if found.empty else str(found.idxmax())


def _faint(
    axes: Axes, rows: pd.DataFrame, place: dict[float, float], stroke: Stroke, *, style: str
) -> None:
    """Draws one of many: a thin line without intervals, and a dot at epsilon infinity."""
    rows = rows.sort_values("epsilon", kind="stable")
    y = rows["advantage"].clip(lower=FLOOR).to_numpy()
    x = np.array([place[float(epsilon)] for epsilon in rows["epsilon"]])
    finite = np.isfinite(rows["epsilon"].to_numpy())
    (line,) = axes.plot(x[finite], y[finite], color=stroke.color, linestyle=style, zorder=2)
    line.set(linewidth=stroke.width, alpha=stroke.alpha)
    axes.plot(x[~finite], y[~finite], ".", color=stroke.color, markersize=3.5, zorder=2)


def _best(axes: Axes, run: Tables, cells: pd.DataFrame, place: dict[float, float]) -> list[Line2D]:
    rows = _best_rows(run, cells)
    stroke = Stroke(DP_SGD, "o", "white", "-", width=2.4, size=6.5, alpha=1.0)
    # Canaries stand at the epsilon of their own track.
    canaries = rows.assign(epsilon=rows["canary_epsilon"].fillna(rows["epsilon"]))
    place = place | {e: e for e in canaries["epsilon"] if math.isfinite(e)}
    handles = []
    for name, points, look, label in (
        ("advantage", rows, stroke, "best attack"),
        (
            "canary_advantage",
            canaries,
            stroke._replace(color=CANARY, marker="D"),
            "best attack on canaries",
        ),
    ):
        found = points.dropna(subset=[name])
        _line(axes, found, place, look, shift=1.0, name=name)
        handles += [] if found.empty else [look.key(label)]
    return handles


def _best_rows(run: Tables, cells: pd.DataFrame) -> pd.DataFrame:
    best = run.best[run.best["knowledge"] == "adaptive"]
    bounds = ["bound_advantage_epsilon", "bound_advantage_mechanism"]
    own = ["delta", "canary_epsilon", "canary_bound_advantage_mechanism"]
    return best.merge(cells[["cell", "epsilon", *bounds, *own]], on="cell")


def share_closed(run: Tables) -> pd.Series:
    """Returns how much of the room above the attacks the mechanism's own bound removes, by epsilon.

    The room is what lies between the bound that epsilon and delta give and the best attack: on
    canaries where the run has them, with the bounds of their track, else on ordinary examples.
    """
    rows = _best_rows(run, _claiming(run))
    rows = rows[np.isfinite(rows["epsilon"])]
    reached, loose, own = (
        rows[name] for name in ("advantage", "bound_advantage_epsilon", "bound_advantage_mechanism")
    )
    canary = rows["canary_advantage"].notna()
    epsilon = rows["canary_epsilon"].fillna(rows["epsilon"]).to_numpy()
    theirs = from_epsilon_delta(epsilon, rows["delta"].fillna(0.0).to_numpy())
    reached = reached.mask(canary, rows["canary_advantage"])
    loose = loose.mask(canary, pd.Series(theirs, index=rows.index))
    own = own.mask(canary, rows["canary_bound_advantage_mechanism"].fillna(own))
    share = pd.Series(((loose - own) / (loose - reached)).to_numpy(), index=rows["epsilon"])
    return share.dropna().clip(upper=1.0).sort_index()


def _share_closed(axes: Axes, run: Tables, cells: pd.DataFrame) -> list[Line2D]:
    """Writes at each epsilon what share of the gap the mechanism's own bound closes."""
    height = dict(zip(cells["epsilon"], cells["bound_advantage_mechanism"], strict=True))
    shares = share_closed(run)
    for epsilon, share in shares.items():
        axes.annotate(
            f"{share:.0%}",
            (float(str(epsilon)), height[epsilon]),
            xytext=(5, -3),
            textcoords="offset points",
            va="top",
            fontsize=7.5,
            color=THEORY,
            path_effects=[withStroke(linewidth=2.0, foreground="white")],
            zorder=7,
        )
    if shares.empty:
        return []
    where = " on canaries" if run.canaries else ""
    said = (
        f"{shares.iloc[0]:.0%}: share of the gap between the bound\nfrom (ε, δ) and the best attack"
        f"{where}\nthat the mechanism's own bound closes"
    )
    return [Line2D([], [], linewidth=0, label=said)]


def _line(
    axes: Axes,
    rows: pd.DataFrame,
    place: dict[float, float],
    stroke: Stroke,
    *,
    shift: float,
    name: str = "advantage",
) -> None:
    """Draws one attack over epsilon, with intervals, and marks what lies below the floor."""
    rows = rows.sort_values("epsilon", kind="stable")
    color, alpha, above_others = stroke.color, stroke.alpha, stroke.width > 2
    x = np.array([place[float(epsilon)] for epsilon in rows["epsilon"]]) * shift
    y, low, high = (
        rows[f"{name}{end}"].clip(lower=FLOOR).to_numpy() for end in ("", "_low", "_high")
    )
    finite = np.isfinite(rows["epsilon"].to_numpy())
    (line,) = axes.plot(x[finite], y[finite], color=color, linestyle=stroke.style, alpha=alpha)
    line.set_linewidth(stroke.width)
    line.set_zorder(5 if above_others else 3)
    axes.vlines(
        x, low, high, color=color, alpha=0.8 * alpha, linewidth=0.85 * stroke.width, zorder=3
    )
    above = rows[name].to_numpy() >= FLOOR
    (marks,) = axes.plot(x[above], y[above], stroke.marker, color=color, alpha=alpha, zorder=6)
    marks.set(markersize=stroke.size, markeredgecolor=stroke.edge, markeredgewidth=0.6)
    (below,) = axes.plot(x[~above], y[~above], "v", color=color, fillstyle="none", zorder=6)
    below.set_markersize(stroke.size + 1)


def _undefended(axes: Axes, run: Tables) -> list[Line2D]:
    points = run.points
    points = points[(points["defense"] == "none") & (points["advantage"] > FLOOR)]
    if points.empty:
        return []
    line = axes.axhline(
        points["advantage"].iloc[0],
        color="#111111",
        linestyle=(0, (1, 1)),
        linewidth=1.2,
        label="undefended, best attack",
        zorder=1,
    )
    return [line]


def _gap() -> Line2D:
    return Line2D([], [], linewidth=0, label=" ")
