"""`dpbench reproduce`: papers' tables and statements beside runs of our own."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from dpbench.cli.console import console
from dpbench.cli.options import DataOption
from dpbench.cli.with_run_options import with_run_options
from dpbench.errors import UserError

if TYPE_CHECKING:
    from dpbench.cli.run_options import RunOptions


@with_run_options
def reproduce(
    paper: Annotated[
        str | None, typer.Argument(help="A paper's name; all of them if left out.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", help="Folder of runs and pages.")] = Path(
        "results/paper"
    ),
    data_dir: DataOption = None,
    *,
    options: "RunOptions",
) -> None:
    """Run the grids of papers and write a page for each: reported, ours, verdict."""
    from dpbench.reproduction.expectation import find_papers
    from dpbench.reproduction.judge import judge
    from dpbench.reproduction.measured import RunNumbers
    from dpbench.reproduction.page import page, table
    from dpbench.reproduction.simulated import simulate
    from dpbench.reproduction.variants import grid_of

    papers = find_papers(paper)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from None
    judged, failures = {}, []
    run_one = functools.partial(_run, options=options, data_dir=data_dir)
    for one in papers:
        numbers: dict[str, Any] = {name: simulate(name) for name in one.simulations}
        origins = {name: "simulated anew for this page" for name in one.simulations}
        missing: dict[str, UserError] = {}
        for grid in one.grids:
            try:
                run, failed = run_one(grid_of(one, grid), out)
            except UserError as error:
                missing[grid] = error  # its data are not here, say: the other grids can still run
                failures.append((grid, str(error)))
                continue
            numbers[grid] = RunNumbers(run)
            origins[grid] = f"{run.command}, run {run.key[:16]}"
            failures += failed
        judged[one.name] = judge(one, functools.partial(_found, numbers, missing))
        text = page(one, judged[one.name], origins=origins)
        (out / f"{one.name}.md").write_text(text, encoding="utf-8")
        _show(one.name, judged[one.name])
        table({one.name: judged[one.name]}).to_csv(out / f"{one.name}.csv", index=False)
    err = Console(stderr=True)
    for what, why in failures:
        err.print(f"failed: {what}: {why}", style="red", markup=False)
    if failures:
        raise typer.Exit(1)


def _found(numbers: Mapping[str, Any], missing: Mapping[str, UserError], name: str) -> Any:
    if name in missing:
        raise missing[name]
    return numbers[name]


def _run(
    grid: Any,
    out: Path,
    *,
    options: "RunOptions",
    data_dir: Path | None,
) -> tuple[Any, list[tuple[str, str]]]:
    import torch

    from dpbench.cli.execute import execute
    from dpbench.jobs.store import Store
    from dpbench.study.context import Context
    from dpbench.study.run import load

    torch.set_num_threads(1)
    folder = out / grid.name
    context = Context(
        grid=grid,
        store=Store(folder / "store"),
        device=options.device,
        data_dir=data_dir,
    )
    outcome = execute(context, folder, options)
    return load(folder, data_dir=data_dir), outcome.failures


def _show(name: str, lines: Any) -> None:
    table = Table("what", "reported", "ours", "verdict", title=name)
    for line in lines:
        table.add_row(line.what, line.reported, line.ours, line.verdict)
    console().print(table)
