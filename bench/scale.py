"""What jobs cost beside their work: claims and records, plans, status and tables of large runs.

    python -m bench.scale                              # 100,000 jobs, 10,000 cells: some minutes
    python -m bench.scale --jobs 10000 --cells 1000    # a tenth of it

The stores are filled with copies of the records of one small cell, so nothing is trained. Seconds
of the processor are printed beside those of the clock, for machines with other work.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dpbench.game.strongest import StrongestJob
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job, Output, ordered, unkeyed
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.store import Store
from dpbench.metrics.strength import METRICS
from dpbench.study import execution
from dpbench.study.cell import Plan
from dpbench.study.context import Context
from dpbench.study.document import write_document
from dpbench.study.plan import make_plan
from dpbench.study.spec import read_grid
from dpbench.study.worker import worker_of

GRID: dict[str, Any] = {
    "name": "scale",
    "population": {"dataset": "letter", "pool": 100, "test": 100, "reference": 100},
    "model": {"name": "mlp", "hidden": [8]},
    "recipe": {"epochs": 2, "batch_size": 16, "lr": 0.1},
    "models": 8,
    "seed": 0,
    "attacks": ["gap", "malt", "mast", "lira", "rmia"],
}
TARGETS = {
    "overhead of a job": "15 ms",
    "planning": "30 s, 1 GB",
    "status": "3 s",
    "collecting": "20 s",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Nothing(Job):
    """A job that does nothing and leaves an array as large as the scores of a small cell."""

    kind: ClassVar[str] = "attack"

    number: int
    label: str = unkeyed(default="nothing")
    seconds: float = unkeyed(default=0.0)

    def run(self, inputs: Inputs) -> Output:
        """Returns zeros."""
        return Output({"queries": 1}, {"scores": np.zeros((64, 500), dtype=np.float32)})


@contextmanager
def timed(what: str, count: int, unit: str) -> Iterator[None]:
    """Prints how long something took, and each of its parts."""
    wall, processor = time.perf_counter(), sum(os.times()[:4])
    yield
    wall, processor = time.perf_counter() - wall, sum(os.times()[:4]) - processor
    each = f"{1e3 * processor / count:.3g} ms of the processor for each of {count:,} {unit}"
    target = next(value for name, value in TARGETS.items() if what.startswith(name))
    print(
        f"{what}: {wall:.1f} s, processor {processor:.1f} s; {each} (target {target})", flush=True
    )


def context_of(folder: Path, cells: int, attacks: list[str]) -> Context:
    """Returns a grid of so many cells that differ in their weight decay."""
    decays = [round(1e-6 * (number + 1), 9) for number in range(cells - 1)]
    defenses = ["none", *([{"l2": {"weight_decay": decays}}] if decays else [])]
    folder.mkdir(parents=True, exist_ok=True)
    write_document({**GRID, "attacks": attacks, "defenses": defenses}, folder / "asked.yaml")
    return Context(grid=read_grid(folder / "asked.yaml"), store=Store(folder / "store"))


def overhead(folder: Path, count: int) -> None:
    """Times the worker loop on jobs that do nothing."""
    context = context_of(folder, 1, ["gap"])
    context.store.create()
    jobs = ordered([Nothing(number=number) for number in range(count)])
    with timed("overhead of a job (claim, digest, publish, log)", count, "jobs"):
        worker_of(context).work(JobStates(jobs, context.store))


def planned(folder: Path, cells: int, attacks: list[str]) -> tuple[Context, Plan]:
    """Times planning and writing what `status` reads; returns the run."""
    with timed(f"planning {cells:,} cells", cells, "cells"):
        context = context_of(folder, cells, attacks)
        plan = execution.prepare(context, folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"  {len(plan.jobs):,} jobs, peak memory {peak:,.0f} MB", flush=True)
    return context, plan


def model_records(folder: Path, attacks: list[str]) -> dict[tuple[str, str], Path]:
    """Returns the folders of real results of two cells, by kind and class of job."""
    context = context_of(folder, 2, attacks)
    plan = make_plan(context)
    context.store.create()
    worker_of(context).work(JobStates(plan.jobs, context.store))
    found = {}
    for job in plan.jobs.values():
        if context.store.has(job.key):
            found[job.kind, type(job).__name__] = context.store.folder(job.key)
    return found


def fill(store: Store, jobs: Mapping[str, Job], records: Mapping[tuple[str, str], Path]) -> None:
    """Makes jobs finished with links to real results; a best attack is always the first one."""
    for job in jobs.values():
        source = records[job.kind, type(job).__name__]
        folder = store.folder(job.key)
        folder.mkdir(parents=True)
        if (source / "arrays.safetensors").exists() and job.kind == "observe":
            os.symlink(source / "arrays.safetensors", folder / "arrays.safetensors")
        if isinstance(job, StrongestJob):
            record = json.loads((source / "record.json").read_text())
            record["winners"] = dict.fromkeys(METRICS, 0)
            (folder / "record.json").write_text(json.dumps(record))
        else:
            os.link(source / "record.json", folder / "record.json")


def main() -> None:
    """Measures all four."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--cells", type=int, default=10_000)
    parser.add_argument("--overhead-jobs", type=int, default=300)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        overhead(out / "overhead", arguments.overhead_jobs)
        attacks = GRID["attacks"]
        records = model_records(out / "model", attacks)
        each = len(make_plan(context_of(out / "one", 101, attacks)).jobs) / 101
        context, plan = planned(out / "large", round(arguments.jobs / each), attacks)
        fill(context.store, plan.jobs, records)
        command = [sys.executable, "-m", "dpbench.cli", "status", str(out / "large")]
        with timed("status", len(plan.jobs), "jobs"):
            print(subprocess.run(command, capture_output=True, text=True).stdout.strip())
        context, plan = planned(out / "wide", arguments.cells, ["gap", "malt"])
        fill(context.store, plan.jobs, model_records(out / "narrow", ["gap", "malt"]))
        with timed("collecting", arguments.cells, "cells"):
            execution.collect(context, plan, out / "wide")


if __name__ == "__main__":
    main()
