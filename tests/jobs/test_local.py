"""How a machine watches its workers; the workers here are small scripts that work on nothing."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from stores import FIRST, SECOND, THIRD, TRAIN, plan, store_of

from dpbench.errors import UserError
from dpbench.jobs.claims import Claims
from dpbench.jobs.executors import base, local, supervise
from dpbench.jobs.executors.local import Pool
from dpbench.jobs.job_log import JobLog
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.store import Store
from dpbench.jobs.worker_config import Limits, WorkerConfig

SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.claims import Claims
from dpbench.jobs.store import Store
from stores import *

store = Store(Path(sys.argv[1]) / "store")
claims, states = Claims(store.root / "claims"), JobStates(plan(), store)
signal.signal(signal.SIGTERM, signal.SIG_IGN)

def do(key):
    {fault}
    store.publish(key, {{}})

while states.open:
    for job in states.open:
        if states.is_ready(job):
            with claims.holding(job.key) as mine:
                if mine and not states.settle(job.key):
                    do(job.key)
    states.refresh()
"""


def pool_of(tmp_path: Path, monkeypatch: Any, fault: str, **config: Any) -> tuple[Pool, Store]:
    """A pool of scripts with a fault."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(fault=fault))
    monkeypatch.setattr(base, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(base, "_POLL_SHARE", 0)
    monkeypatch.setattr(local, "_GRACE_SECONDS", 0.2)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=":")
    store = store_of(tmp_path, [])
    return Pool(
        WorkerConfig(program=(str(script),), **{"folder": tmp_path, "workers": 1} | config)
    ), store


def states_after(tmp_path: Path, monkeypatch: Any, fault: str, **config: Any) -> JobStates[Any]:
    """Lets a pool work until nothing is left."""
    pool, store = pool_of(tmp_path, monkeypatch, fault, **config)
    states: JobStates[Any] = JobStates(plan(), store)
    supervise(pool, states, lambda states: None)
    assert not Claims(store.root / "claims").active()
    return states


def log_of(tmp_path: Path, key: str) -> list[str]:
    return [entry["event"] for entry in JobLog(tmp_path / "store" / "logs").entries(key)]


def test_a_job_that_kills_its_worker_twice_fails_and_the_others_go_on(tmp_path, monkeypatch):
    fault = "if key == FIRST: os.kill(os.getpid(), signal.SIGKILL)"
    states = states_after(tmp_path, monkeypatch, fault)
    assert states.failed == {FIRST}
    assert len(states.finished) == 4
    failure = Store(tmp_path / "store").failure(FIRST)
    assert failure is not None
    assert failure.reason == "the worker died twice (signal SIGKILL; often out of memory)"
    assert log_of(tmp_path, FIRST) == ["died", "died", "failed"]


def test_a_job_that_kills_its_worker_once_is_done_by_the_next(tmp_path, monkeypatch):
    fault = "if key == FIRST and not list((store.root / 'deaths').iterdir()): os._exit(3)"
    states = states_after(tmp_path, monkeypatch, fault)
    assert states.failed == set()
    assert len(states.finished) == 5
    assert log_of(tmp_path, FIRST) == ["died"]


def test_a_job_that_takes_too_long_is_stopped_and_the_others_go_on(tmp_path, monkeypatch):
    fault = "if key == SECOND: time.sleep(600)"
    states = states_after(tmp_path, monkeypatch, fault, limits=Limits(seconds=5.0), workers=2)
    assert states.failed == {SECOND}
    assert states.finished >= {TRAIN, FIRST, THIRD}
    failure = Store(tmp_path / "store").failure(SECOND)
    assert failure == ("failed", "stopped after 5 s (--job-timeout)", "")
    assert log_of(tmp_path, SECOND) == ["failed"]
    assert not list((tmp_path / "store" / "deaths").iterdir())


def test_a_job_that_takes_too_much_memory_is_stopped_and_the_others_go_on(tmp_path, monkeypatch):
    fault = "if key == SECOND: held = bytearray(os.urandom(1024)) * 2**20; time.sleep(600)"
    states = states_after(tmp_path, monkeypatch, fault, limits=Limits(memory_gb=0.9))
    assert states.failed == {SECOND}
    assert states.finished >= {TRAIN, FIRST, THIRD}
    failure = Store(tmp_path / "store").failure(SECOND)
    assert failure is not None
    assert re.fullmatch(r"stopped at [01]\.\d GB of memory \(--memory-limit 0\.9\)", failure.reason)
    assert not list((tmp_path / "store" / "deaths").iterdir())


def test_workers_that_end_at_once_are_no_endless_loop(tmp_path, monkeypatch):
    with pytest.raises(UserError) as caught:
        states_after(tmp_path, monkeypatch, "sys.exit('error: no space left')")
    assert "workers end before they finish a job: error: no space left" in str(caught.value)


def test_a_worker_that_does_not_listen_is_killed_and_its_claim_given_up(tmp_path, monkeypatch):
    def interrupted(states: JobStates[Any]) -> None:
        if Claims(tmp_path / "store" / "claims").active():
            raise KeyboardInterrupt

    pool, store = pool_of(tmp_path, monkeypatch, "time.sleep(600)")
    with pytest.raises(KeyboardInterrupt):
        supervise(pool, JobStates(plan(), store), interrupted)
    assert not list((store.root / "claims").iterdir())
    assert not list((store.root / "deaths").iterdir())


def test_each_worker_sees_its_own_gpu(tmp_path, monkeypatch):
    show = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'], os.environ['OMP_NUM_THREADS'])"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    store_of(tmp_path, [])
    config = WorkerConfig(program=("-c", show), folder=tmp_path, workers=3, device="cuda", first=1)
    pool = Pool(config)
    states: JobStates[Any] = JobStates(plan(), Store(tmp_path / "store"))
    while pool.keep_alive(states):
        time.sleep(0.05)
    (log,) = (tmp_path / "store" / "logs").glob("workers-*.log")
    assert sorted(log.read_text().split("\n")) == ["", "4 1", "7 1", "7 1"]
