"""A grid on a dask cluster of two workers, one of which is lost midway."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gated import assert_same_tables, compute, held, prepared, wait_for

from dpbench.jobs.job import Job
from dpbench.jobs.job_states import JobStates
from dpbench.study import execution
from dpbench.study.executor_option import parse_executor

pytestmark = pytest.mark.e2e


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts modules, and ends those that a test leaves behind."""
    started = []

    def begin(*words: object) -> subprocess.Popen[bytes]:
        silent = subprocess.DEVNULL
        process = subprocess.Popen(
            [sys.executable, "-m", *map(str, words)], cwd=tmp_path, stdout=silent, stderr=silent
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.terminate()
        process.wait(timeout=60)


def children(process: subprocess.Popen[bytes]) -> list[int]:
    threads = Path(f"/proc/{process.pid}/task").iterdir()
    return [int(pid) for thread in threads for pid in (thread / "children").read_text().split()]


def test_a_run_outlives_a_dask_worker(tmp_path, start):
    finished = compute(tmp_path / "clean")
    context, out = prepared(tmp_path / "dask")
    where = tmp_path / "scheduler.json"
    cluster = ["--scheduler-file", where]
    scheduler = start("distributed.cli.dask_scheduler", *cluster, "--port", 0, "--no-dashboard")
    wait_for(where.exists, scheduler)
    options = [*cluster, "--no-nanny", "--nthreads", 1, "--no-dashboard", "--resources", "GPU=1"]
    workers = [start("distributed.cli.dask_worker", *options) for _ in range(2)]
    gate = tmp_path / "dask" / "gate"

    def lose_one(states: JobStates[Job]) -> None:
        if len(held(out)) == 2 and not gate.exists():
            (child,) = children(workers[0])
            assert child in held(out)
            workers[0].kill()
            os.kill(child, signal.SIGKILL)
            gate.touch()

    outcome = execution.execute(
        context,
        execution.prepare(context, out),
        out,
        workers=2,
        report=lose_one,
        executor=parse_executor(f"dask: {{scheduler_file: {where}, resources: {{GPU: 1}}}}"),
    )
    assert not outcome.failures
    assert_same_tables(out, finished)
    assert not held(out)
    assert len(list((out / "store" / "deaths").iterdir())) == 1
    assert workers[1].poll() is None
