"""From a finished run to its figures, tables and page."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from matplotlib.figure import Figure

from dpbench.report import (
    advantage_epsilon,
    average_canary,
    heatmap,
    roc,
    static_adaptive,
    utility_privacy,
)
from dpbench.report.canvas import pdf_bytes, png_bytes, svg_bytes
from dpbench.report.latex import latex_table
from dpbench.report.main_table import attack_numbers, attack_table, main_numbers, main_table
from dpbench.report.matched import matched_numbers, matched_table
from dpbench.report.page import Drawing, page
from dpbench.report.results import Results as Results
from dpbench.report.results import Tables, tables


class FigureKind(NamedTuple):
    """A figure of the report: its name, what its page says of it, and how it is drawn."""

    name: str
    title: str
    caption: str
    draw: Callable[[Results], Figure | None]


FIGURES = (
    FigureKind(
        "utility_privacy",
        utility_privacy.TITLE,
        utility_privacy.CAPTION,
        utility_privacy.utility_privacy,
    ),
    FigureKind(
        "advantage_epsilon",
        advantage_epsilon.TITLE,
        advantage_epsilon.CAPTION,
        advantage_epsilon.advantage_epsilon,
    ),
    FigureKind("roc", roc.TITLE, roc.CAPTION, roc.roc),
    FigureKind("heatmap", heatmap.TITLE, heatmap.CAPTION, heatmap.heatmap),
    FigureKind(
        "static_adaptive",
        static_adaptive.TITLE,
        static_adaptive.CAPTION,
        static_adaptive.static_adaptive,
    ),
    FigureKind(
        "average_canary",
        average_canary.TITLE,
        average_canary.CAPTION,
        average_canary.average_canary,
    ),
)


LARGEST_SVG = 1_000_000
"""Bytes beyond which the page shows a figure as PNG."""


def render(results: Results, out: Path) -> None:
    """Writes `figures/*.{svg,png,pdf}`, `tables/*.csv`, `tables/*.tex` and `report.html`.

    The same tables and scores give the same bytes. A figure that the run has no numbers for is not
    written, and one that an earlier call wrote is removed.

    Args:
        results: The run; cells may be failed, rows may be missing.
        out: The run's folder; it is created if need be.
    """
    run = tables(results)
    drawings = _write_figures(results, out / "figures")
    _write_tables(results, run, out / "tables")
    _write(out / "report.html", page(results, run, drawings).encode())


def _write_figures(results: Results, folder: Path) -> list[Drawing]:
    drawings = []
    for kind in FIGURES:
        figure = kind.draw(results)
        if figure is None:
            for suffix in ("svg", "png", "pdf"):
                (folder / f"{kind.name}.{suffix}").unlink(missing_ok=True)
            continue
        files = {"svg": svg_bytes(figure), "png": png_bytes(figure), "pdf": pdf_bytes(figure)}
        for suffix, content in files.items():
            _write(folder / f"{kind.name}.{suffix}", content)
        # Sharp at any size, unless there is so much in it that the page would be all figure.
        kept = ("svg", "svg+xml") if len(files["svg"]) < LARGEST_SVG else ("png", "png")
        drawings.append(Drawing(kind.name, kind.title, kind.caption, files[kept[0]], kept[1]))
    return drawings


def _write_tables(results: Results, run: Tables, folder: Path) -> None:
    origin = [f"{results.name}: {results.command}", f"run {results.key}"]
    matched = matched_numbers(run)
    readable = {
        "main": main_table(run),
        "attacks": attack_table(run),
        "matched": matched_table(matched),
    }
    plain = {"main": main_numbers(run), "attacks": attack_numbers(run), "matched": matched}
    for name, table in readable.items():
        _write(folder / f"{name}.tex", latex_table(table, comments=origin).encode())
    for name, numbers in plain.items():
        text = numbers.to_csv(index=False, lineterminator="\n", float_format="%.6g")
        _write(folder / f"{name}.csv", text.encode())


def _write(path: Path, content: bytes) -> None:
    """Replaces a file in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
