"""Every attack on every cell as one table of colours: advantage, and TPR at a low FPR."""

import math
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.cluster.hierarchy import leaves_list, linkage

from dpbench.report.canvas import canvas, drawable, house_style, settle
from dpbench.report.palette import QUIET, Look, looks
from dpbench.report.results import Results, Row, Tables, records, tables
from dpbench.report.winners import ENSEMBLE

TITLE = "Which attack finds what?"
CAPTION = (
    "Darker means that the attack finds more. Attacks that look alike on an undefended model "
    "differ on a defended one, which is why one attack is not a measurement. Of many attacks the "
    "eight are shown that together find most, side by side where they find alike; the table of "
    "every attack has them all."
)
SHOWN = 8
"""Single attacks that are shown; the page has a table of all."""
GAPS = {"failed": "failed", "not_applicable": "–"}
UNRESOLVED = "n.r."
PALETTE = mpl.colormaps["YlGnBu"]
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear sRGB (ITU-R BT.709), close enough here
NOTE = (
    "Rates of adaptive attacks; (0.12) is static only; "
    "0.12* holds the weights, which no mask hides. "
    "– not applicable; n.r. not resolvable with so few non-members; hatched: failed."
)

MORE = (
    f"The {SHOWN} attacks that together find most, neighbours where they find alike; "
    "{} others are in the page's table of every attack."
)


class Panel(NamedTuple):
    """One measure of all cells.

    Attributes:
        column: Column of the attacks table.
        title: What it measures.
        norm: Value to colour.
        scale: Factor of the written values.
        digits: Their decimals.
    """

    column: str
    title: str
    norm: Normalize
    scale: float
    digits: int


def heatmap(results: Results) -> Figure | None:
    """Draws cells by attacks, families together and in the order of strength.

    Of many attacks it shows those that together find most, neighbours where they find alike; the
    page has a table of all. Written values are adaptive. A value in brackets is static, because the
    cell has no adaptive row of that attack. Grey fields say why there is no number: failed, not
    applicable, or an FPR that too few non-members resolve.

    Returns:
        The figure, or None when no attack has a row.
    """
    run = tables(results)
    names = _shown_attacks(run)
    if not names:
        return None
    size = (4.0 + 2 * (0.5 * len(names) + 0.4), 0.27 * len(run.cells) + 2.8)
    left_out = len(set(run.attacks["label"]) - {*names})
    note = f"{NOTE} {MORE.format(left_out)}" if left_out else NOTE
    with house_style():
        figure, panels = canvas(
            results, TITLE, size=(max(size[0], 7.0), size[1]), grid=(1, 2), share_y=True, note=note
        )
        for axes, panel in zip(panels, _panels(run), strict=True):
            _draw(axes, run, names, panel)
        panels[1].tick_params(labelleft=False)
        _color_rows(panels[:1], run, looks(run.families))
        settle(figure)
    return figure


def _shown_attacks(run: Tables) -> list[str]:
    """Returns the attacks to show, alike ones side by side, and the ensemble of all at the end."""
    compared = run.attacks[run.attacks["compared"]]
    found = compared.sort_values("knowledge").drop_duplicates(["cell", "label"])  # adaptive first
    order = list(dict.fromkeys(run.attacks["label"]))
    wide = found.pivot(index="cell", columns="label", values="advantage")
    wide = wide.reindex(columns=[name for name in order if name != ENSEMBLE])
    # An attack that fits one defense has a column that one cell fills.
    usual = wide.loc[:, wide.notna().sum() >= wide.notna().sum().max() / 2]
    wide = usual if len(usual.columns) >= SHOWN else wide
    # What does not apply finds nothing there.
    strongest = _together(wide.fillna(0.0).clip(lower=0.0), SHOWN)
    return [*_clustered(strongest), *([ENSEMBLE] if ENSEMBLE in order else [])]


def _together(advantages: pd.DataFrame, count: int) -> pd.DataFrame:
    """Returns the columns whose largest values add up to most, chosen one after the other.

    The largest means alone would leave out the only attacks that work behind a mask.
    """
    values = advantages.to_numpy(dtype=float)
    reached, chosen = np.zeros(len(values)), list[int]()
    for _ in range(min(count, values.shape[1])):
        gains = np.maximum(values - reached[:, None], 0.0).sum(0).round(9)
        gains[chosen] = -1.0
        # Where nothing is gained any more, the strongest on average follows.
        best = int(np.lexsort((values.sum(0).round(9), gains))[-1])
        chosen.append(best)
        reached = np.maximum(reached, values[:, best])
    return advantages.iloc[:, sorted(chosen)]


def _clustered(advantages: pd.DataFrame) -> list[str]:
    """Returns the columns in the order of a dendrogram: the closer, the more alike over cells."""
    names = list(advantages.columns)
    if len(names) < 3 or advantages.empty:
        return names
    tree = linkage(advantages.to_numpy().T, method="average", optimal_ordering=True)
    return [names[index] for index in leaves_list(tree)]


def _panels(run: Tables) -> tuple[Panel, Panel]:
    top = float(np.nanmax([0.1, *run.attacks["advantage"]]))
    return (
        Panel("advantage", "advantage", Normalize(0, top), 1, 2),
        Panel("tpr_at_fpr_0.001", "TPR at 0.1 % FPR, in %", LogNorm(1e-3, 1), 100, 1),
    )


def _draw(axes: Axes, run: Tables, names: list[str], panel: Panel) -> None:
    fields = _fields(run, names, panel)
    values = np.array([[field.value for field in row] for row in fields])
    shown = np.ma.masked_invalid(np.maximum(values, panel.norm.vmin or 0.0))
    axes.pcolormesh(shown, cmap=PALETTE, norm=panel.norm, edgecolors="white", linewidth=0.6)
    dark = PALETTE(panel.norm(shown))[..., :3] @ LUMINANCE < 0.5
    for y, x in np.ndindex(values.shape):
        text = fields[y][x].text
        if math.isnan(values[y, x]):
            _gap(axes, x, y, text)
        else:
            _write(axes, x, y, text, color="white" if dark[y, x] else "#222222", size=7.5)
    for at in np.flatnonzero((run.cells["defense"] != run.cells["defense"].shift()).to_numpy())[1:]:
        axes.axhline(at, color="#555555", linewidth=0.8, zorder=4)
    axes.set_xlim(0, len(names))
    axes.set_ylim(len(run.cells), 0)
    axes.set_xticks(np.arange(len(names)) + 0.5, [drawable(name, limit=30) for name in names])
    axes.set_yticks(
        np.arange(len(run.cells)) + 0.5, [drawable(cell, limit=44) for cell in run.cells["cell"]]
    )
    axes.tick_params(length=0)
    for label in axes.get_xticklabels():
        label.set(rotation=40, horizontalalignment="right", rotation_mode="anchor")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(panel.title, color=QUIET)


class Field(NamedTuple):
    """One field of the heatmap: a value and how it is written, or NaN and the reason."""

    value: float
    text: str


def _fields(run: Tables, names: list[str], panel: Panel) -> list[list[Field]]:
    found = {(row["cell"], row["label"], row["knowledge"]): row for row in records(run.attacks)}
    return [
        [
            _field(
                found.get((cell["cell"], name, "adaptive")),
                found.get((cell["cell"], name, "static")),
                panel,
                otherwise=cell["status"],
            )
            for name in names
        ]
        for cell in records(run.cells)
    ]


def _field(adaptive: Row | None, static: Row | None, panel: Panel, *, otherwise: str) -> Field:
    row = adaptive or static
    status = row["status"] if row else otherwise if otherwise != "done" else "not run"
    if row is None or status != "done":
        return Field(math.nan, GAPS.get(status, ""))
    value = float(row[panel.column])
    if math.isnan(value):
        return Field(value, UNRESOLVED)
    text = f"{panel.scale * value:.{panel.digits}f}"
    text = text if row["compared"] else f"{text}*"
    return Field(value, text if adaptive else f"({text})")


def _gap(axes: Axes, x: int, y: int, text: str) -> None:
    failed = text == GAPS["failed"]
    edge, hatch = ("#B5B5B5", "////") if failed else ("white", None)
    axes.add_patch(Rectangle((x, y), 1, 1, facecolor="#EFEFEF", edgecolor=edge, hatch=hatch))
    _write(axes, x, y, text, color="#444444", size=6.5)


def _write(axes: Axes, x: int, y: int, text: str, *, color: str, size: float) -> None:
    written = axes.text(
        x + 0.5, y + 0.5, text, ha="center", va="center_baseline", color=color, fontsize=size
    )
    written.set_in_layout(False)  # it is inside the axes, and measuring hundreds takes seconds


def _color_rows(panels: list[Axes], run: Tables, look: dict[str, Look]) -> None:
    """Writes each cell's name in the colour its family has in every figure."""
    for axes in panels:
        for label, family in zip(axes.get_yticklabels(), run.cells["defense"], strict=True):
            label.set_color(look[family].ink)
