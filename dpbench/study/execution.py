"""Running a grid from its file to its tables."""

import gc
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from dpbench.errors import UserError
from dpbench.home import expanded
from dpbench.jobs.executors import Executor, Local
from dpbench.jobs.job import Job
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.listing import write_listing
from dpbench.jobs.runner import Report, run_jobs
from dpbench.jobs.worker_config import NO_LIMITS, Limits, WorkerConfig
from dpbench.study.cell import Plan
from dpbench.study.context import Context
from dpbench.study.document import write_document
from dpbench.study.plan import make_plan
from dpbench.study.tables import TableBuilder, write_tables
from dpbench.study.trials import require_networks
from dpbench.study.worker import worker_of


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
    config = worker_config(context, out, workers=workers, limits=limits)
    work(context, plan, config, executor=executor or Local(), report=report)
    return collect(context, plan, out)


def worker_config(
    context: Context,
    out: Path,
    *,
    workers: int,
    limits: Limits = NO_LIMITS,
    plugins: tuple[Path, ...] = (),
) -> WorkerConfig:
    """Returns what the workers on a run are told; paths mean the same wherever they start."""
    return WorkerConfig(
        program=("-m", "dpbench.study.worker"),
        folder=out.resolve(),
        workers=workers,
        device=context.device,
        data_dir=context.data_dir and expanded(context.data_dir, field="--data-dir").resolve(),
        limits=limits,
        plugins=plugins,
    )


def work(
    context: Context, plan: Plan, config: WorkerConfig, *, executor: Executor, report: Report
) -> JobStates[Job]:
    """Runs every open job of a study, beside other workers; returns how all jobs stand."""
    worker = worker_of(context)
    return run_jobs(
        plan.jobs, context.store, config, worker=worker, executor=executor, report=report
    )


def collect(context: Context, plan: Plan, out: Path) -> Outcome:
    """Writes the tables from what the store holds, whoever computed it."""
    # A plan of 100,000 jobs stays to the end: looking through it for garbage, again and again as
    # rows are made, takes a twentieth of the time.
    gc.freeze()
    frames = write_tables(TableBuilder(context, plan), out)
    failures = [
        *_failed(frames["cells"], ["cell"]),
        *_failed(frames["attacks"], ["cell", "attack", "knowledge"]),
    ]
    return Outcome(cells=frames["cells"], attacks=frames["attacks"], failures=failures)


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
