"""The command line.

Exit codes: 0 done, 1 finished with failed cells, 2 wrong input, 130 interrupted.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from dpbench.cli.audit import audit
from dpbench.cli.bound import bound
from dpbench.cli.check import check, refuse_cheats
from dpbench.cli.collect import collect
from dpbench.cli.compare import compare
from dpbench.cli.components import components
from dpbench.cli.console import console
from dpbench.cli.disparity import disparity
from dpbench.cli.draw import draw
from dpbench.cli.gc import gc
from dpbench.cli.merge import merge
from dpbench.cli.new_defense import new_defense
from dpbench.cli.options import (
    DataOption,
    FolderArgument,
    GridArgument,
    OutOption,
    PluginOption,
)
from dpbench.cli.reproduce import reproduce
from dpbench.cli.status import status
from dpbench.cli.tune import tune
from dpbench.cli.warnings import warn_of_borrowed_schedules
from dpbench.cli.with_run_options import with_run_options
from dpbench.cli.worker import worker
from dpbench.errors import UserError
from dpbench.faults import explained, is_fault
from dpbench.jobs.stopping import stop_when_told

app = typer.Typer(
    name="dpbench",
    help="Which privacy defense is worth the accuracy it costs?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

if TYPE_CHECKING:
    from dpbench.cli.run_options import RunOptions


@with_run_options
def run(
    grid: GridArgument,
    out: OutOption = None,
    plugin: PluginOption = None,
    data_dir: DataOption = None,
    *,
    options: "RunOptions",
) -> None:
    """Train, attack, evaluate and draw every cell of a grid; resumes what is already there."""
    from dpbench.cli.execute import execute

    outcomes = []
    for context, folder in _contexts(
        grid, out, device=options.device, plugins=plugin, data_dir=data_dir
    ):
        outcome = execute(context, folder, options)
        draw(folder, data_dir)
        _summary(outcome.cells, outcome.attacks)
        err = Console(stderr=True)
        for what, why in outcome.failures:
            err.print(f"failed: {what}: {why}", style="red", markup=False)
        err.print(f"report: {folder / 'report.html'}", markup=False)
        outcomes.append(outcome)
    if any(outcome.failures for outcome in outcomes):
        raise typer.Exit(1)


def plan(
    grid: GridArgument,
    plugin: PluginOption = None,
    data_dir: DataOption = None,
    out: OutOption = None,
) -> None:
    """Show every cell and job of a grid, with keys, costs and claims, before anything runs."""
    from dpbench.cli.plan import show_plan

    for context, folder in _contexts(grid, out, plugins=plugin, data_dir=data_dir):
        show_plan(context, folder)


def report(folder: FolderArgument, data_dir: DataOption = None) -> None:
    """Draw the figures, tables and page of a run again."""
    draw(folder, data_dir, force=True)
    console().print(f"{folder / 'report.html'}", markup=False)


def list_(
    what: Annotated[
        Literal["attacks", "defenses", "datasets", "models", "grids"], typer.Argument()
    ],
) -> None:
    """List what a grid can name."""
    from dpbench.study.shipped import list_grids, purpose

    screen = console()
    if what == "grids":
        table = Table("grid", "file", "what it answers")
        for name, path in list_grids().items():
            table.add_row(name, str(path), purpose(path))
    else:
        table = components(what)
    screen.print(table)


def download(
    name: Annotated[str, typer.Argument(help="The data set.")], data_dir: DataOption = None
) -> None:
    """Fetch a data set that is not embedded, and check its digest."""
    from dpbench.data import download as fetch

    console().print(f"{fetch(name, data_dir)}", markup=False)


def doctor(
    data_dir: DataOption = None,
    audit: Annotated[
        bool,
        typer.Option(
            "--audit", help="Also audit DP-SGD in both engines, white-box: about a minute."
        ),
    ] = False,
) -> None:
    """Check this installation: versions, data, engines and accounting."""
    from dpbench.doctor import audit_engines, examine

    table = Table("check", "result", "detail")
    findings = [*examine(data_dir), *(audit_engines() if audit else ())]
    for finding in findings:
        table.add_row(finding.check, "ok" if finding.ok else "FAILED", finding.detail)
    console().print(table)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


_COMMANDS: dict[str, dict[str, Callable[..., None]]] = {
    "Run a grid": {
        "run": run,
        "plan": plan,
        "status": status,
        "report": report,
        "list": list_,
        "download": download,
    },
    "Compare and extend": {
        "compare": compare,
        "reproduce": reproduce,
        "tune": tune,
        "disparity": disparity,
        "new-defense": new_defense,
        "check": check,
    },
    "What privacy is promised, and what is proved": {
        "bound": bound,
        "audit": audit,
        "doctor": doctor,
    },
    "Several machines": {"worker": worker, "collect": collect, "merge": merge, "gc": gc},
}

for _panel, _commands in _COMMANDS.items():
    for _name, _command in _commands.items():
        app.command(_name, rich_help_panel=_panel)(_command)


def _contexts(
    grid: str,
    out: Path | None,
    *,
    device: str = "cpu",
    plugins: list[Path] | None = None,
    data_dir: Path | None = None,
) -> list[tuple[Any, Path]]:
    """Returns every run of a grid file with its folder, one for each population."""
    import torch

    from dpbench.jobs.store import Store
    from dpbench.study.context import Context
    from dpbench.study.shipped import find_grid
    from dpbench.study.spec import read_grids

    torch.set_num_threads(1)
    grids = read_grids(find_grid(grid), plugins or ())
    contexts = []
    for spec in grids:
        refuse_cheats(spec.attacks)
        warn_of_borrowed_schedules(spec, named=grid)
        folder = out / spec.name if out and len(grids) > 1 else out or Path("results") / spec.name
        store = Store.of(folder)
        contexts.append((Context(grid=spec, store=store, device=device, data_dir=data_dir), folder))
    return contexts


def _summary(cells: Any, attacks: Any) -> None:
    best = attacks[(attacks["attack"] == "best") & (attacks["knowledge"] == "adaptive")]
    merged = cells.merge(best, on="cell", suffixes=("", "_attack"), how="left")
    table = Table("cell", "test accuracy", "best advantage", "TPR at 0.1% FPR", "bound", "status")
    for _, row in merged.iterrows():
        low, high = _number(row["advantage_low"]), _number(row["advantage_high"])
        table.add_row(
            row["cell"],
            _number(row["test_accuracy"]),
            f"{_number(row['advantage'])} [{low}, {high}]",
            _number(row["tpr_at_fpr_0.001"], digits=4),
            _number(row["bound_advantage_mechanism"]),
            row["status"],
        )
    screen = console()
    screen.print(table)
    violations = attacks[attacks["violates_bound"].fillna(False).astype(bool)]
    for _, row in violations.iterrows():
        screen.print(f"VIOLATES ITS BOUND: {row['cell']} / {row['attack']}", markup=False)


def _number(value: float, digits: int = 3) -> str:
    """Writes a number of a table, or a dash where there is none (failed, or not resolvable)."""
    return "-" if value != value else f"{value:.{digits}f}"


def main() -> None:
    """Runs the command line and turns errors into messages and exit codes."""
    stop_when_told()
    try:
        app()
    except (UserError, OSError) as error:
        if isinstance(error, OSError):
            if not is_fault(error):
                raise
            error = explained(error, Path.cwd())
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
