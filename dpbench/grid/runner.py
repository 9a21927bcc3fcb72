"""Running a grid from its file to its tables."""

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dpbench.errors import UserError
from dpbench.grid.board import Board, blocked_by
from dpbench.grid.cell import Plan
from dpbench.grid.crew import NO_LIMITS, Crew, Limits
from dpbench.grid.document import write_document
from dpbench.grid.executors import Executor, Local, attend
from dpbench.grid.job import Context, Job
from dpbench.grid.listing import write_listing
from dpbench.grid.plan import make_plan
from dpbench.grid.quarantine import Quarantine
from dpbench.grid.store import Store
from dpbench.grid.tables import Tables, write_tables
from dpbench.grid.trials import require_networks
from dpbench.grid.worker import work
from dpbench.home import expanded

Report = Callable[[Board[Job]], None]


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
    require_networks(context, plan)
    context.store.create()
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_document(_anywhere(context.grid.document()), out / "grid.yaml")
        write_listing(plan.jobs, out)
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror})") from None
    return plan


def execute(
    context: Context,
    plan: Plan,
    out: Path,
    *,
    workers: int,
    report: Report,
    limits: Limits = NO_LIMITS,
    executor: Executor | None = None,
) -> Outcome:
    """Runs every open job and writes the tables.

    Args:
        context: The run.
        plan: Its jobs.
        out: Its folder.
        workers: How many workers; 0 works in this process.
        report: Told about progress now and then.
        limits: What a job may take before its worker is stopped and it fails.
        executor: Who starts them; this process if left out.
    """
    crew = crew_of(context, out, workers=workers, limits=limits)
    work_off(context, plan, crew, executor=executor or Local(), report=report)
    return collect(context, plan, out)


def crew_of(
    context: Context,
    out: Path,
    *,
    workers: int,
    limits: Limits = NO_LIMITS,
    plugins: tuple[Path, ...] = (),
) -> Crew:
    """Returns what the workers on a run are told; paths mean the same wherever they start."""
    return Crew(
        folder=out.resolve(),
        workers=workers,
        device=context.device,
        data_dir=context.data_dir and expanded(context.data_dir, field="--data-dir").resolve(),
        limits=limits,
        plugins=plugins,
    )


def work_off(
    context: Context, plan: Plan, crew: Crew, *, executor: Executor, report: Report
) -> Board[Job]:
    """Runs every open job, beside whoever else does; returns how all jobs stand."""
    board = Board(plan.jobs, context.store)
    if board.open:
        if crew.workers == 0:
            work(context, board)
        else:
            attend(executor.start(crew), board, report)
        board.refresh()
    report(board)
    return board


def collect(context: Context, plan: Plan, out: Path) -> Outcome:
    """Writes the tables from what the store holds, whoever computed it."""
    # A plan of 100,000 jobs stays to the end: looking through it for garbage, again and again as
    # rows are made, takes a twentieth of the time.
    gc.freeze()
    frames = write_tables(Tables(context, plan), out)
    failures = [
        *_failed(frames["cells"], ["cell"]),
        *_failed(frames["attacks"], ["cell", "attack", "knowledge"]),
    ]
    return Outcome(cells=frames["cells"], attacks=frames["attacks"], failures=failures)


def retry_failed(store: Store, plan: Plan) -> int:
    """Forgets the failures of a plan's jobs, so that they run again; returns how many.

    What was computed without them is computed again, too.
    """
    board, quarantine = Board(plan.jobs, store), Quarantine(store)
    lost = board.failed | blocked_by(board.failed, plan.jobs.values())
    for job in plan.jobs.values():
        if job.tolerant and job.key in board.finished and lost.intersection(job.parents):
            store.remove(job.key)
    for key in board.failed:
        quarantine.forget(key)
        store.forget_failure(key)
    return len(board.failed)


def default_workers() -> int:
    """One worker per core that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _anywhere(document: dict[str, Any]) -> dict[str, Any]:
    """Returns a grid's document with a path that means the same in every working directory."""
    population = document["population"]
    if population.get("path") is None:
        return document
    path = str(expanded(population["path"], field="population.path").resolve())
    return document | {"population": population | {"path": path}}


def _failed(frame: pd.DataFrame, columns: list[str]) -> list[tuple[str, str]]:
    rows = frame[frame["status"].isin(["failed", "missing"])]
    return [
        (" / ".join(str(row[column]) for column in columns), str(row["reason"]))
        for _, row in rows.iterrows()
    ]
