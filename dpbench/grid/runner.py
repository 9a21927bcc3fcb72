"""Running a grid from its file to its tables."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from dpbench.errors import UserError
from dpbench.grid.cell import Plan
from dpbench.grid.document import write_document
from dpbench.grid.job import Context
from dpbench.grid.local import Pool
from dpbench.grid.plan import make_plan
from dpbench.grid.store import Store
from dpbench.grid.tables import Tables, write_tables
from dpbench.grid.worker import Board, work

Report = Callable[[Board], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What is to be said when a run ends.

    Attributes:
        cells: The cells table.
        attacks: The attacks table.
        failures: Cell or attack, and why it has no result.
    """

    cells: pd.DataFrame
    attacks: pd.DataFrame
    failures: list[tuple[str, str]]


def prepare(context: Context, out: Path) -> Plan:
    """Plans a run and makes its folder; nothing is computed before the whole grid is known good.

    Raises:
        UserError: The grid cannot be run as asked, or the folder cannot be written.
    """
    plan = make_plan(context)
    context.store.create()
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_document(context.grid.document(), out / "grid.yaml")
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from None
    return plan


def execute(context: Context, plan: Plan, out: Path, *, workers: int, report: Report) -> Outcome:
    """Runs every open job and writes the tables.

    Args:
        context: The run.
        plan: Its jobs.
        out: Its folder.
        workers: Worker processes; 0 works in this process.
        report: Told about progress now and then.
    """
    board = Board(plan.jobs, context.store)
    if board.open:
        if workers == 0:
            work(context, board)
        else:
            Pool(context, out, workers).run(board, report)
        board.refresh()
    report(board)
    frames = write_tables(Tables(context, plan), out)
    failures = [
        *_failed(frames["cells"], ["cell"]),
        *_failed(frames["attacks"], ["cell", "attack", "knowledge"]),
    ]
    return Outcome(cells=frames["cells"], attacks=frames["attacks"], failures=failures)


def retry_failed(store: Store, plan: Plan) -> int:
    """Forgets the failures of a plan's jobs, so that they run again; returns how many."""
    failed = store.failures() & plan.jobs.keys()
    for key in failed:
        store.forget_failure(key)
    return len(failed)


def default_workers() -> int:
    """One worker per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _failed(frame: pd.DataFrame, columns: list[str]) -> list[tuple[str, str]]:
    rows = frame[frame["status"].isin(["failed", "missing"])]
    return [
        (" / ".join(str(row[column]) for column in columns), str(row["reason"]))
        for _, row in rows.iterrows()
    ]
