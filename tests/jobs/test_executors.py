"""Choosing an executor, its options, and its limits. Real clusters are in tests/e2e."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from stores import FIRST, TRAIN, plan, store_of
from typer.testing import CliRunner

from dpbench.cli import app
from dpbench.cli.run_options import run_options
from dpbench.errors import UserError
from dpbench.jobs import gpus
from dpbench.jobs.executors import Dask, Executor, Local, Patience, Slurm, supervise
from dpbench.jobs.executors import slurm as slurm_executor
from dpbench.jobs.executors.slurm import WatchWorker
from dpbench.jobs.gpus import environment_for
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.listing import write_listing
from dpbench.jobs.worker_config import WorkerConfig
from dpbench.study.device import require_device
from dpbench.study.executor_option import parse_executor

TOLD = """
import os, signal, time
from dpbench.jobs.stopping import stop_when_told
stop_when_told()
try:
    os.kill(os.getpid(), getattr(signal, {name!r}))
    time.sleep(60)
except KeyboardInterrupt:
    for name in ("SIGTERM", "SIGUSR1", "SIGUSR2"):
        os.kill(os.getpid(), getattr(signal, name))
    print("stopped in peace")
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("local", Local()),
        ("slurm", Slurm()),
        (
            "slurm: {partition: gpu, time: 60, memory_gb: 4, gpus: 2, sbatch: {constraint: a100}}",
            Slurm(partition="gpu", time=60, memory_gb=4.0, gpus=2, sbatch={"constraint": "a100"}),
        ),
        ("dask:", Dask()),
        (
            "dask: {address: tcp://host:8786, resources: {GPU: 1}}",
            Dask(address="tcp://host:8786", resources={"GPU": 1.0}),
        ),
    ],
)
def test_an_executor_is_written_as_a_grid_writes_a_defense(text: str, expected: Executor):
    assert parse_executor(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slrum", "did you mean 'slurm'?"),
        ("slurm: {partitoin: gpu}", "did you mean 'partition'?"),
        ("slurm: {time: 1}", "--executor slurm.time: 1 is not valid"),
        ("slurm: {time: '1:00'}", "--executor slurm.time: '1:00' is not valid"),
        ("slurm: {gpus: -1}", "--executor slurm.gpus: -1 is not valid"),
        ("slurm: gpu", "allowed: options"),
        ("dask: {resources: {GPU: many}}", "--executor dask.resources.GPU: 'many' is not valid"),
        ("local: {workers: 3}", "unknown key 'workers'"),
        ("[slurm, dask]", "a name, or one name with its options"),
        ("slurm: {", "--executor"),
    ],
)
def test_what_is_wrong_with_an_executor_is_said(text: str, message: str):
    with pytest.raises(UserError) as caught:
        parse_executor(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "package", "extra"), [("slurm", "submitit", "slurm"), ("dask", "distributed", "dask")]
)
def test_a_missing_extra_is_named(monkeypatch, text: str, package: str, extra: str):
    there = importlib.util.find_spec

    def find(name: str, *rest: Any) -> Any:
        return None if name == package else there(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find)
    result = CliRunner().invoke(app, ["run", "smoke", "--executor", text, "-j", "2"])
    assert isinstance(result.exception, UserError)
    assert f"pip install 'dp-defense-bench[{extra}]'" in str(result.exception)


def test_missing_programs_contradictions_and_numbers_are_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="sbatch, srun, squeue, scancel, scontrol not found"):
        Slurm().require()
    with pytest.raises(UserError, match="address and scheduler_file are both given"):
        Dask(address="tcp://host:1", scheduler_file="x").require()
    with pytest.raises(UserError, match="no such file"):
        Dask(scheduler_file=str(tmp_path / "x")).require()
    with pytest.raises(UserError, match="no cluster that has them"):
        Dask(resources={"GPU": 1}).require()
    with pytest.raises(UserError, match="-j is missing"):
        run_options(executor="dask: {address: tcp://host:1}", workers=None, device="cuda")
    assert run_options(executor="dask", workers=None, device="cpu").executor == Dask()


def test_devices(monkeypatch):
    for device in ("cuda:1", "gpu", "cuda:", "mps"):
        with pytest.raises(UserError, match="is not valid"):
            require_device(device)
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES=1 and --device cuda"):
        require_device("cuda:1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="no CUDA device found"):
        require_device("cuda")


def test_workers_go_round_the_gpus(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "_listed_gpus", lambda: 3)

    def chosen(device: str) -> list[str | None]:
        numbers = range(5)
        return [environment_for(device, n).get("CUDA_VISIBLE_DEVICES") for n in numbers]

    assert chosen("cpu") == [None] * 5
    assert chosen("cuda") == ["0", "1", "2", "0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5a")
    assert chosen("cuda") == ["2", "GPU-5a", "2", "GPU-5a", "2"]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(gpus, "_listed_gpus", lambda: 0)
    assert chosen("cuda") == [None] * 5


def test_patience_lasts_as_long_as_jobs_get_done(tmp_path):
    store = store_of(tmp_path, [])
    states: JobStates[Any] = JobStates(plan(), store)
    patience = Patience(2)
    for key in (TRAIN, FIRST):
        patience.lose(4, states, lambda: ("", ""))
        store.publish(key, {})
        states.refresh()
    patience.lose(4, states, lambda: ("", ""))
    with pytest.raises(UserError, match=r"before they finish a job: no disk\n  next: see here"):
        patience.lose(1, states, lambda: ("no disk", "here"))


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1", "SIGUSR2"])
def test_a_process_that_is_told_to_stop_is_not_disturbed_while_it_does(name: str):
    line = [sys.executable, "-c", TOLD.format(name=name)]
    assert subprocess.check_output(line, text=True) == "stopped in peace\n"


PROGRAM = ("-m", "dpbench.study.worker")


class FakeSlurm:
    """Programs of Slurm on the path: sbatch takes everything, and nothing ever runs."""

    def __init__(self, folder: Path, *, squeue: str = "exit 0") -> None:
        self.folder, programs = folder, folder / "programs"
        self.out = folder / "run"
        programs.mkdir()
        log = f"{self.out}/slurm/7_0_0_log.out"
        scripts = {
            "sbatch": f"""
                cp "$1" {folder}/script.$(ls {folder} | grep -c script)
                echo "python: No module named dpbench" >> {log}
                echo "srun: error: n1: task 0: Exited with exit code 1" >> {log}
                echo Submitted batch job 7""",
            "squeue": squeue,
            "scancel": f'echo "$@" >> {folder}/cancelled',
            "srun": "exit 1",
            "scontrol": "exit 1",
        }
        for name, script in scripts.items():
            (programs / name).write_text(f"#!/bin/sh\n{script}\n")
            (programs / name).chmod(0o755)
        self.path = f"{programs}:{os.environ['PATH']}"
        self.out.mkdir()
        store_of(self.out, [])

    @property
    def submitted(self) -> list[str]:
        return [path.read_text() for path in sorted(self.folder.glob("script.*"))]


def states_of(slurm: FakeSlurm, monkeypatch: Any) -> JobStates[Any]:
    monkeypatch.setenv("PATH", slurm.path)
    monkeypatch.setattr(slurm_executor, "_LOOK_SECONDS", (0.0, 0.0))
    return JobStates(plan(), store_of(slurm.folder / "other", []))


def test_tasks_that_end_at_once_are_reported_and_not_retried_for_ever(monkeypatch, tmp_path):
    slurm = FakeSlurm(tmp_path)
    states = states_of(slurm, monkeypatch)
    executor = Slurm(partition="gpu", time=60, memory_gb=1.5, sbatch={"nodelist": "n1"})
    executor.require()
    workers = executor.start(
        WorkerConfig(program=PROGRAM, folder=slurm.out, workers=2, device="cuda")
    )
    with pytest.raises(UserError) as caught:
        supervise(workers, states, lambda states: None)
    assert "    python: No module named dpbench\n  next: see " in str(caught.value)
    assert "srun" not in str(caught.value)
    assert len(slurm.submitted) == 3
    assert (tmp_path / "cancelled").read_text() == "7\n"
    asked = {line.removeprefix("#SBATCH --") for line in slurm.submitted[0].splitlines()}
    assert asked >= {
        *("array=0-1%2", "partition=gpu", "time=60", "mem=1536M", "gpus-per-node=1"),
        *("nodelist=n1", "requeue", "cpus-per-task=1", "signal=USR2@90", "job-name=dpbench-run"),
    }


def test_a_controller_that_does_not_answer_is_waited_for(monkeypatch, tmp_path):
    unable = "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1"
    slurm = FakeSlurm(tmp_path, squeue=unable)
    states = states_of(slurm, monkeypatch)
    workers = Slurm().start(WorkerConfig(program=PROGRAM, folder=slurm.out, workers=1))
    assert all(workers.keep_alive(states) for _ in range(5))
    assert len(slurm.submitted) == 1


def test_what_slurm_refuses_is_said(monkeypatch, tmp_path):
    slurm = FakeSlurm(tmp_path)
    (tmp_path / "programs" / "sbatch").write_text(
        "#!/bin/sh\necho 'sbatch: error: invalid partition specified: gpuu' >&2; exit 1\n"
    )
    states_of(slurm, monkeypatch)
    with pytest.raises(UserError, match="sbatch: error: invalid partition specified: gpuu"):
        Slurm(partition="gpuu").start(WorkerConfig(program=PROGRAM, folder=slurm.out, workers=2))


def test_a_task_of_a_finished_run_ends_at_once_and_one_that_starts_again_does_the_same(tmp_path):
    jobs = plan()
    store_of(tmp_path, list(jobs))
    write_listing(jobs, tmp_path)
    task = WatchWorker(config=WorkerConfig(program=PROGRAM, folder=tmp_path, workers=1))
    handlers = {number: signal.getsignal(number) for number in (15, 10, 12)}
    try:
        task()
        assert task.checkpoint().function == task
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
