"""`dpbench disparity`: which attacks find the same members, and find them again."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from dpbench.cli.console import console


def disparity(
    folder: Annotated[Path, typer.Argument(help="The folder of a run.")],
    cell: Annotated[str, typer.Option(help="The cell.")] = "none",
    fpr: Annotated[float, typer.Option(min=1e-6, max=0.5, help="At which FPR.")] = 0.01,
    instances: Annotated[int, typer.Option(min=2, help="Groups of shadows.")] = 4,
    targets: Annotated[int, typer.Option(min=2, help="Models to attack.")] = 8,
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", envvar="DPBENCH_DATA", help="Folder of downloaded data sets."),
    ] = None,
) -> None:
    """Attack a cell again with other shadows: coverage, stability and overlap of its attacks."""
    from dpbench.study.disparity import disparities, overlaps
    from dpbench.study.run import load

    run = load(folder, data_dir=data_dir)
    err = Console(stderr=True)
    rows = disparities(
        run,
        cell,
        fpr=fpr,
        instances=instances,
        targets=targets,
        report=lambda attack: err.print(f"again: {attack}", markup=False, highlight=False),
    )
    pairs = overlaps(run, cell, fpr=fpr)
    out = folder / "tables"
    out.mkdir(exist_ok=True)
    rows.to_csv(out / "disparity.csv", index=False)
    pairs.to_csv(out / "disparity_overlap.csv")
    table = Table(*rows.columns, title=f"{cell}: members found at {fpr:.2%} FPR, {targets} targets")
    for row in rows.sort_values("coverage", ascending=False).itertuples(index=False):
        shown = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in row]
        table.add_row(*("-" if text == "nan" else text for text in shown))
    console().print(table)
    console().print(f"also in {out}: disparity.csv, disparity_overlap.csv", markup=False)
