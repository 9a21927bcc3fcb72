"""What all attacks cost on one cell, on two cores: `python -m bench.attacks`.

The cell is that of grids/attacks.yaml: 64 MLPs on 5,000 points, boundary attacks on 4 models x 500
points x 2,500 queries. Training and observation are done first and not counted. Prints every
attack's seconds, the wall-clock time of all attacks and their evaluation with two workers, time and
memory of scoring with LiRA and RMIA alone, and what rows cost beside one sort of their scores.
"""

import argparse
import os
import shutil

os.environ.setdefault("OMP_NUM_THREADS", "1")

import tempfile
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from dpbench.attacks import Attack, Lira, Rmia
from dpbench.jobs.store import Store
from dpbench.study import execution
from dpbench.study.cell import Plan
from dpbench.study.context import Context
from dpbench.study.spec import read_grid
from dpbench.study.tables import TableBuilder
from dpbench.study.worker import worker_of

GRID = Path(__file__).parents[1] / "grids" / "attacks.yaml"
LIMITS = {"all attacks": 120.0, "lira": 2.0, "rmia": 2.0}
WORKERS = 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trained", type=Path, help="keeps the trained models for another time")
    trained = parser.parse_args().trained or Path(tempfile.mkdtemp())
    torch.set_num_threads(1)
    context, plan = _planned(trained)
    for job in plan.jobs.values():
        if job.kind in ("train", "observe") and not context.store.has(job.key):
            worker_of(context).attempt(job)
    out = Path(tempfile.mkdtemp()) / "run"
    shutil.copytree(trained, out)
    context, plan = _planned(out)
    start = time.perf_counter()
    outcome = execution.execute(context, plan, out, workers=WORKERS, report=lambda states: None)
    wall = time.perf_counter() - start
    _print_seconds(context, plan)
    verdict = _verdict(wall, "all attacks")
    print(f"all attacks and their evaluation: {wall:.1f} s with {WORKERS} workers {verdict}")
    for what, why in outcome.failures:
        print(f"FAILED {what}: {why}")
    for attack in (Lira(), Rmia()):
        _print_scoring(context, plan, attack)
    _print_rows(context, plan)


def _planned(out: Path) -> tuple[Context, Plan]:
    context = Context(grid=read_grid(GRID), store=Store(out / "store"))
    return context, execution.prepare(context, out)


def _print_seconds(context: Context, plan: Plan) -> None:
    timings = TableBuilder(context, plan).timings()
    for kind in ("attack", "evaluate"):
        rows = timings[timings["kind"] == kind].sort_values("seconds", ascending=False)
        print(
            f"{kind}: {rows['seconds'].sum():.1f} core-seconds, {rows['peak_rss_mb'].max():.0f} MB"
        )
        for row in rows.head(12 if kind == "attack" else 3).itertuples():
            print(f"  {row.seconds:7.2f} s  {row.label}")


def _print_scoring(context: Context, plan: Plan, attack: Attack) -> None:
    """Prints seconds and peak memory of one attack's scores, outputs already at hand."""
    job = next(row.scores for row in plan.cells[0].rows if row.attack == attack)
    seconds = []
    for _ in range(3):
        view = job.view(context.results(job))
        start = time.perf_counter()
        attack.score(view)
        seconds.append(time.perf_counter() - start)
    tracemalloc.start()
    attack.score(job.view(context.results(job)))
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    best = min(seconds)
    print(f"{attack.name}: {best:.2f} s and {peak:.0f} MB on one core", _verdict(best, attack.name))


def _print_rows(context: Context, plan: Plan) -> None:
    """Prints what evaluating, combining and choosing cost, as multiples of sorting one's scores."""
    rows = {row.label: row for row in plan.cells[0].rows if row.knowledge == "adaptive"}
    scores = context.store.array(rows["ensemble"].evaluate.key, "scores")
    sort = _processor_seconds(lambda: np.argsort(scores, axis=None))
    for label in ("lira", "ensemble", "best"):
        seconds = _processor_seconds(partial(rows[label].evaluate.run, context))
        print(f"the row of {label}: {seconds:.2f} s, {seconds / sort:.0f} sorts of its scores")


def _processor_seconds(work: Callable[[], object]) -> float:
    """Returns the least of three."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _verdict(seconds: float, what: str) -> str:
    return f"({'within' if seconds < LIMITS[what] else 'ABOVE'} {LIMITS[what]:g} s)"


if __name__ == "__main__":
    main()
