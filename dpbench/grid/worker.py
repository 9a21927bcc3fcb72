"""The worker: claim a job, run it, publish it, until nothing is left. The only execution path."""

import argparse
import os
import resource
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

from dpbench.attacks import NotApplicable
from dpbench.errors import UserError
from dpbench.faults import EXIT_CODE, explained, is_fault
from dpbench.grid.board import Board
from dpbench.grid.claims import Claims
from dpbench.grid.device import require_device
from dpbench.grid.folder import open_run
from dpbench.grid.job import Context, Job, Output
from dpbench.grid.job_log import JobLog
from dpbench.grid.plan import make_plan
from dpbench.grid.quarantine import Quarantine
from dpbench.grid.stopping import stop_when_told
from dpbench.grid.store import Failure
from dpbench.training.task import Diverged

# How long a worker sleeps when all ready jobs are claimed by others: long enough that looking
# through the store is a small part of it.
_IDLE_SECONDS, _IDLE_SHARE = 0.1, 10


def work(context: Context, board: Board[Job], *, stop: Callable[[], bool] = lambda: False) -> None:
    """Runs open jobs until none is left, or `stop()` says so between two jobs."""
    store = context.store
    claims = Claims(store.root / "claims", vanished=Quarantine(store).vanished)
    while not stop():
        started = time.monotonic()
        board.refresh()
        looked = time.monotonic() - started
        todo = board.open
        if not todo:
            return
        ran = False
        for job in todo:
            if stop():
                return
            if board.is_ready(job):
                ran |= _take(job, context, board, claims)
        if not ran:
            time.sleep(max(_IDLE_SECONDS, _IDLE_SHARE * looked))


def _take(job: Job, context: Context, board: Board[Job], claims: Claims) -> bool:
    """Runs a job unless it is settled or another worker is on it; tells whether it ran."""
    if board.settle(job.key):
        return False
    with claims.holding(job.key) as mine:
        # Another worker may have settled it, and taking over a dead one's claim may have, too.
        if not mine or board.settle(job.key):
            return False
        attempt(job, context)
    board.settle(job.key)
    return True


def attempt(job: Job, context: Context) -> None:
    """Runs one job and publishes its result, or the reason why there is none.

    Raises:
        OSError: The disk is full, say; the job is as open as before.
    """
    start = time.perf_counter()
    log = JobLog(context.store.root / "logs")
    resumed = context.store.partial(job.key).is_dir()
    facts = {"kind": job.kind, "label": job.label, "device": context.device, "resumed": resumed}
    log.add(job.key, "started", **facts)
    result = _result(job, context)
    seconds = time.perf_counter() - start
    if isinstance(result, Failure):
        context.store.fail(job.key, result)
        context.store.forget_partial(job.key)
        log.add(job.key, "failed", seconds=seconds, **result._asdict())
        return
    measured = {
        "seconds": seconds,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "device": context.device,
        "torch": torch.__version__,
    }
    record = {"kind": job.kind, "label": job.label, "measured": measured}
    context.store.publish(job.key, record | dict(result.record), result.arrays)
    context.store.forget_partial(job.key)
    log.add(job.key, "finished", **measured)


def _result(job: Job, context: Context) -> Output | Failure:
    try:
        return job.run(context.on(job.track))
    except NotApplicable as error:
        return Failure("not_applicable", str(error))
    except Diverged as error:
        return Failure("failed", f"diverged: {error}")
    except UserError as error:
        return Failure("failed", str(error))
    except Exception as error:
        if is_fault(error):
            raise
        return Failure("failed", f"{type(error).__name__}: {error}", traceback.format_exc())


def main() -> None:
    """Works on the run in a folder until nothing is left or the parent process is gone."""
    parser = argparse.ArgumentParser(prog="python -m dpbench.grid.worker")
    parser.add_argument("out", type=Path)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data-dir", type=Path, default=None)
    parser.add_argument("--plugin", type=Path, action="append", default=[])
    parser.add_argument("--watched-by", type=int, default=0, help="the parent process")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # Whoever watches this worker may have vanished while torch was being imported.
    parent = arguments.watched_by or os.getppid()
    # Being told to stop gives the claim back; being killed leaves it to whoever watches.
    stop_when_told()
    try:
        require_device(arguments.device)
        context = open_run(
            arguments.out,
            device=arguments.device,
            data_dir=arguments.data_dir,
            plugins=arguments.plugin,
        )
        board = Board(make_plan(context).jobs, context.store)
        work(context, board, stop=lambda: os.getppid() != parent)
    except UserError as error:
        # In one line: the last one of a log is what people are shown.
        raise SystemExit(f"error: {'; '.join(map(str.strip, str(error).splitlines()))}") from None
    except OSError as error:
        if not is_fault(error):
            raise
        print(f"error: {explained(error, arguments.out)}".splitlines()[0], file=sys.stderr)
        raise SystemExit(EXIT_CODE) from None
    except KeyboardInterrupt:
        raise SystemExit("stopped") from None


if __name__ == "__main__":
    main()
