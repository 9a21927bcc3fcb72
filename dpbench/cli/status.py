"""`dpbench status`: what of a run is finished, running, waiting and failed."""

import time
from datetime import datetime
from pathlib import Path
from typing import Any

from dpbench.cli.console import console
from dpbench.cli.options import DataOption, FolderArgument
from dpbench.errors import UserError

_MOST_FAILURES = 50


def status(folder: FolderArgument, data_dir: DataOption = None) -> None:
    """Show what of a run is finished, running (where, since when), waiting and failed (why)."""
    from dpbench.jobs.job_states import JobStates
    from dpbench.jobs.snapshot import read_progress, running
    from dpbench.jobs.store import Store

    store = Store.of(folder)
    states: JobStates[Any] = JobStates(_jobs(folder, data_dir), store)
    now = running(states, store)
    screen = console()
    screen.print(
        f"{len(states.jobs)} jobs, {len(states.finished)} finished, {len(now)} running, "
        f"{max(0, len(states.open) - len(now))} waiting, {len(states.failed)} failed, "
        f"{len(states.blocked)} blocked by a failure"
    )
    for one in now:
        since = "" if one.since is None else f", since {_clock(one.since)} ({_ago(one.since)})"
        where = f"{one.host} process {one.pid}"
        screen.print(f"running: {one.label} on {where}{since}", markup=False)
    progress = read_progress(folder)
    if states.open and progress.get("seconds_left"):
        left, at = float(progress["seconds_left"]), float(progress["time"])
        text = f"about {max(0.0, at + left - time.time()) / 60:.0f} min left"
        screen.print(f"{text}, as estimated at {_clock(at)}", markup=False)
    _show_failures(states, store)


def _jobs(folder: Path, data_dir: Path | None) -> Any:
    """Returns the jobs as planned by the last command on the folder, or plans them."""
    from dpbench.jobs.listing import read_listing

    if not (folder / "grid.yaml").is_file():
        raise UserError(f"{folder}: no run here", next_step="dpbench run GRID --out DIR")
    try:
        return read_listing(folder)
    except (OSError, ValueError):
        from dpbench.study.folder import open_run
        from dpbench.study.plan import make_plan

        return make_plan(open_run(folder, data_dir=data_dir)).jobs


def _show_failures(states: Any, store: Any) -> None:
    from dpbench.jobs.job_log import JobLog

    log, screen = JobLog(store.root / "logs"), console()
    for key in sorted(states.failed)[:_MOST_FAILURES]:
        failure = store.failure(key)
        if failure is None:
            continue
        screen.print(f"{failure.kind}: {states.jobs[key].label}: {failure.reason}", markup=False)
        screen.print(f"  log: {log.path(key)}", markup=False)
    if len(states.failed) > _MOST_FAILURES:
        more = len(states.failed) - _MOST_FAILURES
        screen.print(f"and {more} more failures in {store.root / 'failures'}", markup=False)


def _clock(moment: float) -> str:
    return datetime.fromtimestamp(moment).strftime("%Y-%m-%d %H:%M:%S")


def _ago(moment: float) -> str:
    seconds = max(0.0, time.time() - moment)
    return f"{seconds / 60:.0f} min" if seconds > 90 else f"{seconds:.0f} s"
