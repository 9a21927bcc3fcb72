"""Every attack on every cell as one table of colours: advantage, and TPR at a low FPR."""

import math
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from dpbench.report.canvas import canvas, drawable, house_style, settle
from dpbench.report.palette import QUIET, Look, looks
from dpbench.report.results import Results, Row, Tables, records, tables

TITLE = "Which attack finds what?"
CAPTION = (
    "Darker means that the attack finds more. Attacks that look alike on an undefended model "
    "differ on a defended one, which is why one attack is not a measurement."
)
SIDE_BY_SIDE = 9
GAPS = {"failed": "failed", "not_applicable": "–"}
UNRESOLVED = "n.r."
PALETTE = mpl.colormaps["YlGnBu"]
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])  # of linear sRGB (ITU-R BT.709), close enough here
NOTE = (
    "Rates of adaptive attacks; (0.12) is static only. "
    "– not applicable; n.r. not resolvable with so few non-members; hatched: failed."
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

    Written values are adaptive. A value in brackets is static, because the cell has no adaptive row
    of that attack. Grey fields say why there is no number: failed, not applicable, or an FPR that
    too few non-members resolve.

    Returns:
        The figure, or None when no attack has a row.
    """
    run = tables(results)
    names = list(dict.fromkeys(run.attacks["label"]))
    if not names:
        return None
    wide = len(names) <= SIDE_BY_SIDE
    rows, columns = len(run.cells), len(names)
    panel_width, panel_height = 0.5 * columns + 0.4, 0.27 * rows + 1.6
    size = (
        (3.2 + 2 * panel_width, panel_height + 1.2)
        if wide
        else (4.2 + panel_width, 2 * panel_height + 1.2)
    )
    with house_style():
        figure, panels = canvas(
            results,
            TITLE,
            size=(max(size[0], 7.0), size[1]),
            grid=(1, 2) if wide else (2, 1),
            share_y=wide,
            note=NOTE,
        )
        for axes, panel in zip(panels, _panels(run), strict=True):
            _draw(axes, run, names, panel)
        if wide:
            panels[1].tick_params(labelleft=False)
        _color_rows(panels[:1] if wide else panels, run, looks(run.families))
        settle(figure)
    return figure


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
