"""The worker: claim a job, run it, publish it, until nothing is left. The only execution path."""

import argparse
import os
import resource
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from dpbench.attacks import NotApplicable
from dpbench.errors import UserError
from dpbench.grid.claims import Claims
from dpbench.grid.job import Context, Job
from dpbench.grid.plan import make_plan
from dpbench.grid.spec import read_grid
from dpbench.grid.store import Failure, Store
from dpbench.training.task import Diverged

# How long a worker sleeps when all ready jobs are claimed by others.
_IDLE_SECONDS = 0.1


class Board:
    """What is known about every job of a plan: finished, failed, blocked by a failure, or open."""

    def __init__(self, jobs: dict[str, Job], store: Store) -> None:
        self.jobs, self._store = jobs, store
        self.finished: set[str] = set()
        self.failed: set[str] = set()
        self.blocked: set[str] = set()
        self.refresh()

    def refresh(self) -> None:
        """Reads the store, and spreads failures to the jobs that depend on them."""
        self.finished = self._store.finished() & self.jobs.keys()
        self.failed = (self._store.failures() & self.jobs.keys()) - self.finished
        self.blocked = set()
        for job in self.jobs.values():
            dead = self.failed | self.blocked
            lost = dead.intersection(job.parents)
            if lost and (not job.tolerant or len(lost) == len(job.parents)):
                self.blocked.add(job.key)

    @property
    def open(self) -> list[Job]:
        """Jobs that are still to be done, parents before children."""
        closed = self.finished | self.failed | self.blocked
        return [job for job in self.jobs.values() if job.key not in closed]

    def is_ready(self, job: Job) -> bool:
        """Tells whether everything the job reads exists."""
        settled = self.finished if not job.tolerant else self.finished | self.failed | self.blocked
        return settled.issuperset(job.parents)


def work(context: Context, board: Board, *, stop: Callable[[], bool] = lambda: False) -> None:
    """Runs open jobs until none is left, or `stop()` says so between two jobs."""
    claims = Claims(context.store.root / "claims")
    while not stop():
        board.refresh()
        todo = board.open
        if not todo:
            return
        ran = False
        for job in todo:
            if stop():
                return
            if not board.is_ready(job):
                continue
            with claims.holding(job.key) as mine:
                # Another worker may have finished it since the board was read.
                if not mine or context.store.has(job.key):
                    continue
                attempt(job, context)
            ran = True
            if context.store.has(job.key):
                board.finished.add(job.key)
        if not ran:
            time.sleep(_IDLE_SECONDS)


def attempt(job: Job, context: Context) -> None:
    """Runs one job and publishes its result, or the reason why there is none."""
    start = time.perf_counter()
    store = context.store
    try:
        output = job.run(context.on(job.track))
    except NotApplicable as error:
        store.fail(job.key, Failure("not_applicable", str(error)))
    except Diverged as error:
        store.fail(job.key, Failure("failed", f"diverged: {error}"))
    except UserError as error:
        store.fail(job.key, Failure("failed", str(error)))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        store.fail(job.key, Failure("failed", reason, traceback.format_exc()))
    else:
        measured = {
            "seconds": time.perf_counter() - start,
            "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "device": context.device,
            "torch": torch.__version__,
        }
        record = {"kind": job.kind, "label": job.label, "measured": measured}
        store.publish(job.key, record | dict(output.record), output.arrays)


def main() -> None:
    """Works on the run in a folder until nothing is left or the parent process is gone."""
    parser = argparse.ArgumentParser(prog="python -m dpbench.grid.worker")
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data-dir", type=Path, default=None)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    parent = os.getppid()
    context = Context(
        grid=read_grid(arguments.out / "grid.yaml"),
        store=Store.of(arguments.out),
        device=arguments.device,
        data_dir=arguments.data_dir,
    )
    plan = make_plan(context)
    work(context, Board(plan.jobs, context.store), stop=lambda: os.getppid() != parent)


if __name__ == "__main__":
    main()
