"""From a finished run to its figures, tables and page."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from dpbench.report.advantage_epsilon import advantage_epsilon
from dpbench.report.canvas import png_bytes, svg_bytes
from dpbench.report.heatmap import heatmap
from dpbench.report.latex import latex_table
from dpbench.report.main_table import attack_table, main_numbers, main_table
from dpbench.report.page import page
from dpbench.report.results import Results as Results
from dpbench.report.results import Tables, tables
from dpbench.report.roc import roc
from dpbench.report.static_adaptive import static_adaptive
from dpbench.report.utility_privacy import utility_privacy

FIGURES: dict[str, Callable[[Results], Figure | None]] = {
    "utility_privacy": utility_privacy,
    "advantage_epsilon": advantage_epsilon,
    "roc": roc,
    "heatmap": heatmap,
    "static_adaptive": static_adaptive,
}


def render(results: Results, out: Path) -> None:
    """Writes `figures/*.svg`, `figures/*.png`, `tables/*.csv`, `tables/*.tex` and `report.html`.

    The same tables and scores give the same bytes. A figure that the run has no numbers for is not
    written, and one that an earlier call wrote is removed.

    Args:
        results: The run; cells may be failed, rows may be missing.
        out: The run's folder; it is created if need be.
    """
    run = tables(results)
    drawn = _write_figures(results, out / "figures")
    _write_tables(results, run, out / "tables")
    _write(out / "report.html", page(results, run, drawn).encode())


def _write_figures(results: Results, folder: Path) -> dict[str, bytes]:
    """Returns the SVG bytes of the figures that could be drawn."""
    drawn = {}
    for name, draw in FIGURES.items():
        figure = draw(results)
        if figure is None:
            for suffix in ("svg", "png"):
                (folder / f"{name}.{suffix}").unlink(missing_ok=True)
            continue
        drawn[name] = svg_bytes(figure)
        _write(folder / f"{name}.svg", drawn[name])
        _write(folder / f"{name}.png", png_bytes(figure))
    return drawn


def _write_tables(results: Results, run: Tables, folder: Path) -> None:
    origin = [f"{results.name}: {results.command}", f"run {results.key}"]
    readable = {"main": main_table(run), "attacks": attack_table(run)}
    for name, table in readable.items():
        _write(folder / f"{name}.tex", latex_table(table, comments=origin).encode())
    for name, numbers in (("main", main_numbers(run)), ("attacks", _numbers(run))):
        text = numbers.to_csv(index=False, lineterminator="\n", float_format="%.6g")
        _write(folder / f"{name}.csv", text.encode())


def _numbers(run: Tables) -> pd.DataFrame:
    """Returns the adaptive advantages, one row per cell and one column per attack."""
    adaptive = run.attacks[run.attacks["knowledge"] == "adaptive"]
    wide = adaptive.pivot_table(index="cell", columns="label", values="advantage", sort=False)
    names = [name for name in dict.fromkeys(run.attacks["label"]) if name in wide.columns]
    return wide.reindex(index=run.cells["cell"], columns=names).reset_index()


def _write(path: Path, content: bytes) -> None:
    """Replaces a file in one step, so that a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)
