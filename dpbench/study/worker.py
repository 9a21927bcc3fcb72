"""The program that a worker process runs: it opens a run and works on its plan."""

import argparse
import os
import sys
from pathlib import Path

import torch

from dpbench.errors import UserError
from dpbench.faults import EXIT_CODE, explained, is_fault
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.stopping import stop_when_told
from dpbench.jobs.worker import Worker
from dpbench.study.context import Context
from dpbench.study.device import require_device
from dpbench.study.folder import open_run
from dpbench.study.plan import make_plan


def worker_of(context: Context) -> Worker:
    """Returns what works on a study in this process."""
    return Worker(context.store, device=context.device, facts={"torch": torch.__version__})


def main() -> None:
    """Works on the run in a folder until nothing is left or the parent process is gone."""
    parser = argparse.ArgumentParser(prog="python -m dpbench.study.worker")
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
        states = JobStates(make_plan(context).jobs, context.store)
        worker_of(context).work(states, stop=lambda: os.getppid() != parent)
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
