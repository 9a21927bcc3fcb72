"""Peak memory of single jobs on many models and points: observation, LiRA, RMIA, evaluation.

    python -m bench.memory                             # 1,024 models, 50,000 points, 10 classes
    python -m bench.memory --models 16 --classes 100 --jobs observe
    python -m bench.memory --cells 100 --cells 10000   # a worker's plan of grids of both sizes

Each job runs in a process of its own, as a worker would run it; the peak is that process's `VmHWM`.
Models are trained for a few steps on random data: neither memory nor time depends on what they
learn.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.scale import context_of
from dpbench.jobs.job import Job
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.store import Store
from dpbench.study import execution
from dpbench.study.context import Context
from dpbench.study.document import write_document
from dpbench.study.folder import open_run
from dpbench.study.plan import make_plan
from dpbench.study.spec import read_grid
from dpbench.study.worker import worker_of

_FEATURES = 16
_JOBS = ("observe", "lira", "rmia", "rmia(mode=offline)", "evaluate lira")


def prepared(folder: Path, arguments: argparse.Namespace) -> Context:
    """Plans a run on random data and trains its models for a few steps."""
    rng = np.random.default_rng(0)
    points = 2 * arguments.points + 1000
    np.savez(
        folder / "data.npz",
        x=rng.standard_normal((points, _FEATURES), dtype=np.float32),
        y=np.arange(points) % arguments.classes,
    )
    grid: dict[str, Any] = {
        "name": "memory",
        "population": {
            "dataset": "file",
            "path": str(folder / "data.npz"),
            "pool": arguments.points,
            "test": 1000,
            "reference": arguments.points,
        },
        "model": {"name": "mlp", "hidden": [8]},
        "recipe": {"epochs": 4 * 64 / arguments.points, "batch_size": 64, "lr": 0.1},
        "models": arguments.models,
        "defenses": ["none"],
        "attacks": ["lira", {"rmia": {"mode": ["online", "offline"]}}],
    }
    write_document(grid, folder / "asked.yaml")
    context = Context(grid=read_grid(folder / "asked.yaml"), store=Store(folder / "run" / "store"))
    plan = execution.prepare(context, folder / "run")
    trainings = {key: job for key, job in plan.jobs.items() if job.kind == "train"}
    worker_of(context).work(JobStates(trainings, context.store))
    return context


def measured(folder: Path, name: str) -> None:
    """Runs one job of a run in this process and prints what it took."""
    context = open_run(folder)
    job = _job(make_plan(context).jobs.values(), name)
    before, started, processor = _peak_mb(), time.perf_counter(), time.process_time()
    worker_of(context).attempt(job)
    wall, processor = time.perf_counter() - started, time.process_time() - processor
    failure = context.store.failure(job.key)
    print(
        f"{job.label}: peak {_peak_mb():,.0f} MB ({before:,.0f} MB once planned), {wall:.0f} s, "
        f"processor {processor:.0f} s{f': {failure.reason}' if failure else ''}",
        flush=True,
    )


def planned(folder: Path, cells: int) -> None:
    """Plans a grid of so many cells, as a worker does, and prints what that takes."""
    before = _peak_mb()
    plan = make_plan(context_of(folder, cells, ["gap", "malt"]))
    print(
        f"{cells:,} cells, {len(plan.jobs):,} jobs: peak of a worker's plan {_peak_mb():,.0f} MB "
        f"({before:,.0f} MB before)",
        flush=True,
    )


def _job(jobs: Any, name: str) -> Job:
    found: list[Job] = [
        job
        for job in jobs
        if job.label.startswith(f"{name} on") or job.label.startswith(f"{name} none")
    ]
    return found[0]


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def _again(*arguments: object) -> None:
    command = [sys.executable, "-m", "bench.memory", *map(str, arguments)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


def main() -> None:
    """Measures every job, or every plan, in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1024)
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--jobs", nargs="+", default=list(_JOBS))
    parser.add_argument("--cells", type=int, action="append", default=[])
    parser.add_argument("--one", type=json.loads, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.one:
        kind, folder, value = arguments.one
        (planned if kind == "cells" else measured)(Path(folder), value)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for cells in arguments.cells:
            _again("--one", json.dumps(["cells", str(folder / f"{cells}"), cells]))
        if arguments.cells:
            return
        prepared(folder, arguments)
        for job in arguments.jobs:
            _again("--one", json.dumps(["job", str(folder / "run"), job]))


if __name__ == "__main__":
    main()
