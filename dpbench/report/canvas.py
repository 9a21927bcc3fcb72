"""Blank figures in the house style, and their bytes: the same figure is always the same file."""

import io
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import matplotlib.style
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from dpbench.report.palette import QUIET
from dpbench.report.results import Results

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # shipped with Matplotlib: the same glyphs everywhere
    "font.size": 9.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 9.5,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.8,
    "grid.color": "#ECECEC",
    "grid.linewidth": 0.7,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "figure.facecolor": "white",
    "hatch.linewidth": 0.6,
    "patch.linewidth": 0.6,
    "text.parse_math": False,  # a '$' in a user's name is a dollar sign
    "svg.fonttype": "path",
    "pdf.fonttype": 42,  # TrueType, which journals ask for
    "svg.hashsalt": "dpbench",
}


DPI = 160
LONGEST_SIDE = 2400


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib's defaults and the house style, whatever the user's own settings are."""
    with mpl.style.context(["default", {**sns.axes_style("ticks"), **STYLE}]):
        yield


def canvas(
    results: Results,
    title: str,
    *,
    size: tuple[float, float],
    grid: tuple[int, int] = (1, 1),
    share_y: bool = False,
    note: str = "",
) -> tuple[Figure, list[Axes]]:
    """Returns a figure with a question for its title and the run it belongs to below it.

    Args:
        results: The run; its grid, command and key are printed in small type.
        title: The question that the figure answers.
        size: Width and height in inches.
        grid: Rows and columns of axes.
        share_y: All axes have one y axis.
        note: What the marks mean, where no legend says it.
    """
    figure = Figure(
        figsize=size,
        dpi=min(DPI, LONGEST_SIDE / max(size)),
        layout=ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09),
    )
    FigureCanvasAgg(figure)
    figure.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    named = (f"grid {results.name}", results.command, f"run {results.key[:16]}")
    origin = "   ·   ".join(map(drawable, named))
    lines = [
        textwrap.fill(text, width=max(40, int(size[0] * 15))) for text in (note, origin) if text
    ]
    figure.supxlabel(
        "\n".join(lines), x=0.01, ha="left", fontsize=6.5, color=QUIET, family="DejaVu Sans Mono"
    )
    axes = figure.subplots(*grid, squeeze=False, sharey=share_y)
    return figure, list(axes.flat)


def legend_beside(axes: Axes, handles: Sequence[Artist], *, handle_length: float = 2.0) -> None:
    """Puts the legend to the right of the axes, where it covers no data and no title."""
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(1.02, 1.0),
        borderaxespad=0.0,
        handlelength=handle_length,
    )


def settle(figure: Figure) -> None:
    """Lays the figure out once and for all: what is written later moves nothing."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")


def drawable(text: str, *, limit: int = 400) -> str:
    """Returns text that the fonts can draw: Latin and Greek letters, and not too many of them."""
    kept = "".join(
        char if char.isprintable() and (ord(char) < 0x400 or char == "∞") else "?" for char in text
    )
    return kept if len(kept) <= limit else kept[: limit - 1] + "…"


def svg_bytes(figure: Figure) -> bytes:
    """Returns the figure as SVG without date and creator."""
    buffer, resolution = io.BytesIO(), figure.dpi
    metadata = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    # The canvas's own writer: `savefig` would draw everything once more to lay it out again.
    with house_style():
        FigureCanvasSVG(figure).print_svg(buffer, metadata=metadata)  # type: ignore[no-untyped-call]
    figure.dpi = resolution
    return buffer.getvalue()


def pdf_bytes(figure: Figure) -> bytes:
    """Returns the figure as PDF with the fonts in it, without date and program."""
    buffer, resolution = io.BytesIO(), figure.dpi
    metadata = dict.fromkeys(("CreationDate", "Creator", "Producer"))
    with house_style():
        FigureCanvasPdf(figure).print_pdf(buffer, metadata=metadata)  # type: ignore[no-untyped-call]
    figure.dpi = resolution
    return buffer.getvalue()


def png_bytes(figure: Figure) -> bytes:
    """Returns the figure as PNG, without the writer's name."""
    buffer = io.BytesIO()
    with house_style():
        FigureCanvasAgg(figure).print_png(buffer, metadata={"Software": None})  # type: ignore[no-untyped-call]
    return buffer.getvalue()
