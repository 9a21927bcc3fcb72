"""How much faster two one-thread workers finish a grid than one: both runs, and their ratio.

    python -m bench.efficiency grids/default.yaml --models 12
    python -m bench.efficiency grids/smoke.yaml

Two runs follow each other, so a machine with other work makes the ratio mean little: look at the
processor's seconds, which should be equal, beside those of the clock.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from dpbench.jobs.executors import Local
from dpbench.jobs.job import Job
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.runner import default_workers
from dpbench.jobs.store import Store
from dpbench.study import execution
from dpbench.study.context import Context
from dpbench.study.document import read_document, write_document
from dpbench.study.shipped import find_grid
from dpbench.study.spec import Grid, read_grids

TARGET = 1.85


def asked(name: str, folder: Path, models: int | None) -> Grid:
    """Returns the (first) grid of a file, perhaps with fewer models."""
    document = read_document(find_grid(name))
    if models is not None:
        document["models"] = models
    write_document(document, folder / "asked.yaml")
    return read_grids(folder / "asked.yaml")[0]


def timed(grid: Grid, folder: Path, workers: int) -> tuple[float, float]:
    """Runs all jobs of a grid; returns the seconds of the clock and of the workers' processors."""
    context = Context(grid=grid, store=Store(folder / "store"))
    plan = execution.prepare(context, folder)
    before, started = os.times(), time.perf_counter()
    config = execution.worker_config(context, folder, workers=workers)
    states = execution.work(context, plan, config, executor=Local(), report=_quiet())
    wall, after = time.perf_counter() - started, os.times()
    if states.open or states.failed:
        raise SystemExit(f"{len(states.open)} jobs are open, {len(states.failed)} failed")
    processor = sum(after[2:4]) - sum(before[2:4])  # of children that have ended
    print(
        f"{workers} worker{'s' * (workers > 1)}: {len(plan.jobs)} jobs in {wall:.1f} s, "
        f"processor {processor:.1f} s",
        flush=True,
    )
    return wall, processor


def _quiet() -> Callable[[JobStates[Job]], None]:
    return lambda states: None


def main() -> None:
    """Runs a grid with one worker and with two; exits with 1 below the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("grid")
    parser.add_argument("--models", type=int, help="as many models for each cell, not the grid's")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    cores, (load, *_) = default_workers(), os.getloadavg()
    print(f"{cores} cores, load {load:.1f} before the first run")
    with tempfile.TemporaryDirectory() as name:
        grid = asked(arguments.grid, Path(name), arguments.models)
        one, spent = timed(grid, Path(name) / "one", 1)
        two, spent_by_two = timed(grid, Path(name) / "two", 2)
    ratio = one / two
    print(
        f"two workers are {ratio:.2f} times as fast as one (target {TARGET}); "
        f"they used {spent_by_two / spent:.2f} times the processor"
    )
    sys.exit(ratio < TARGET)


if __name__ == "__main__":
    main()
