"""`dpbench compare`: a new defense beside the baselines of a finished run."""

import base64
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dpbench.cli.console import console
from dpbench.cli.options import DataOption, FolderArgument, PluginOption
from dpbench.cli.warnings import warn_of_borrowed_schedules
from dpbench.cli.with_run_options import with_run_options

if TYPE_CHECKING:
    from dpbench.cli.run_options import RunOptions


@with_run_options
def compare(
    folder: FolderArgument,
    defense: Annotated[
        list[str],
        typer.Option(
            "--defense",
            help="What to compare: a name, 'name: {field: \\[values]}', or a cell of the run.",
        ),
    ],
    plugin: PluginOption = None,
    trials: Annotated[
        int | None, typer.Option(min=0, help="Tuning trials that you spent on it, for the card.")
    ] = None,
    data_dir: DataOption = None,
    *,
    options: "RunOptions",
) -> None:
    """Compare a defense with a run's baselines at equal accuracy, on the same bits and seeds."""
    import torch

    from dpbench.cli.execute import execute
    from dpbench.comparison.compare import compare as compare_cells
    from dpbench.comparison.plan import folder_name, plan_comparison
    from dpbench.jobs.store import COMPARISONS
    from dpbench.study.context import Context
    from dpbench.study.run import load

    torch.set_num_threads(1)
    base = load(folder, data_dir=data_dir)
    planned = plan_comparison(base.context.grid, defense, plugin or ())
    warn_of_borrowed_schedules(planned.grid, named=str(folder / "grid.yaml"))
    out = folder / COMPARISONS / folder_name(planned.compared)
    context = Context(
        grid=planned.grid, store=base.context.store, device=options.device, data_dir=data_dir
    )
    outcome = execute(context, out, options)
    labels = {cell.label for cell in planned.compared}
    failed = [(what, why) for what, why in outcome.failures if what.split(" / ")[0] in labels]
    run = load(out, data_dir=data_dir)
    result = compare_cells(run, planned.compared)
    command = _command(folder, defense, plugin or (), trials)
    verdict = _write(run, planned.compared, result, out, command=command, trials=trials)
    _show(result.found)
    console().print(verdict, markup=False, highlight=False)
    err = Console(stderr=True)
    for what, why in failed:
        err.print(f"failed: {what}: {why}", style="red", markup=False)
    err.print(f"card: {out / 'card.html'}", markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)


def _command(
    folder: Path, defenses: Sequence[str], plugins: Sequence[Path], trials: int | None
) -> str:
    words = ["dpbench", "compare", str(folder)]
    words += [word for text in defenses for word in ("--defense", text)]
    words += [word for path in plugins for word in ("--plugin", str(path))]
    words += ["--trials", str(trials)] if trials is not None else []
    return shlex.join(words)


def _write(
    run: Any, compared: Any, result: Any, out: Path, *, command: str, trials: int | None
) -> str:
    """Writes table, figure and card; returns the verdict."""
    from dpbench.comparison.card import card, card_page
    from dpbench.comparison.compare import table
    from dpbench.comparison.readable import readable
    from dpbench.report.canvas import png_bytes, svg_bytes
    from dpbench.report.comparison import TITLE, comparison
    from dpbench.report.latex import latex_table

    rows = table(result.found)
    rows.to_csv(out / "comparison.csv", index=False, float_format="%.6g")
    result.points.to_csv(out / "points.csv", index=False, float_format="%.6g")
    text = latex_table(readable(result.found), comments=[command, f"run {run.key}"])
    (out / "comparison.tex").write_text(text, encoding="utf-8")
    figure = comparison(run, result.points)
    svg = svg_bytes(figure)
    (out / "comparison.svg").write_bytes(svg)
    (out / "comparison.png").write_bytes(png_bytes(figure))
    values = card(run, compared, result.found, command=command, trials=trials)
    (out / "card.json").write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")
    image = f'<img src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}" alt="{TITLE}">'
    (out / "card.html").write_text(card_page(values, figure=image), encoding="utf-8")
    return str(values["verdict"])


def _show(found: Any) -> None:
    from dpbench.comparison.readable import readable
    from dpbench.comparison.sentence import shown

    rows = readable(shown(found))
    table = Table(*rows.columns)
    for row in rows.itertuples(index=False, name=None):
        table.add_row(*map(str, row))
    console().print(table)
