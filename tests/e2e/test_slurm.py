"""A grid on a real Slurm: two nodes, one of which is lost midway."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gated import assert_same_tables, compute, held_jobs, prepared, wait_for
from loopback_slurm import LoopbackSlurm

from dpbench.jobs.job import Job
from dpbench.study import execution

pytestmark = [pytest.mark.e2e, pytest.mark.slurm]


@pytest.fixture
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackSlurm]:
    made = LoopbackSlurm(tmp_path_factory.mktemp("slurm"))
    try:
        made.start()
        yield made
    finally:
        made.end()


def start(slurm: LoopbackSlurm, out: Path) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-m", "dpbench.cli", "run", str(out / "grid.yaml"), "--out", str(out)]
    line += ["--executor", "slurm: {time: 60, sbatch: {comment: tiny}}", "-j", "2"]
    return subprocess.Popen(
        line,
        env=os.environ | slurm.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        # A shell starts what runs in its background deaf to Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def events(out: Path, kind: str) -> list[tuple[str, str]]:
    """Job and node of every log entry of a kind."""
    found = []
    for path in (out / "store" / "logs").glob("*.jsonl"):
        entries: list[dict[str, Any]] = [json.loads(line) for line in path.read_text().splitlines()]
        found += [(path.stem, entry["host"]) for entry in entries if entry["event"] == kind]
    return found


def gated_jobs(jobs: Iterable[Job]) -> dict[str, int]:
    """The jobs that wait at a gate, with its number."""
    found = {}
    for job in jobs:
        if job.label.startswith("train gated"):
            number = re.search(r"number=(\d)", job.label)
            found[job.key] = int(number[1]) if number else 1
    return found


def preempt(slurm: LoopbackSlurm, out: Path, node: str) -> None:
    """Sends the task of a node what Slurm sends first: it gives its claim back and queues again."""
    (task,) = slurm.ask("squeue", "--noheader", f"--nodelist={node}", "--format=%i").split()
    slurm.ask("scancel", "--signal=USR2", task)
    wait_for(lambda: node not in held_jobs(out).values())
    wait_for(lambda: "Restarts=1" in slurm.ask("scontrol", "show", "job", task))
    assert not list((out / "store" / "deaths").iterdir())


def test_a_run_outlives_preemption_an_interruption_and_a_node(slurm, tmp_path):
    cells = {"defenses": ["none", {"gated": {"number": [1, 2, 3]}}]}
    finished = compute(tmp_path / "clean", **cells)
    context, out = prepared(tmp_path / "slurm", **cells)
    gates = gated_jobs(execution.prepare(context, out).jobs.values())

    def two_are_held(*but: str) -> bool:
        held = held_jobs(out).keys()
        return len(held) == 2 and held <= gates.keys() - set(but)

    first = start(slurm, out)
    wait_for(two_are_held, first)
    assert set(held_jobs(out).values()) == {"n1", "n2"}
    assert slurm.ask("squeue", "--noheader", "--array", "--format=%k").split() == ["tiny"] * 2
    preempt(slurm, out, "n1")
    assert first.poll() is None
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=300) == 130
    wait_for(lambda: not held_jobs(out) and not slurm.ask("squeue", "--noheader"))

    second = start(slurm, out)
    wait_for(two_are_held, second)
    done, lost = next(iter(held_jobs(out).items()))
    (tmp_path / "slurm" / f"gate{gates[done]}").touch()
    wait_for(lambda: two_are_held(done), second)
    (half_done,) = (job for job, node in held_jobs(out).items() if node == lost)
    slurm.switch_off(lost)
    (tmp_path / "slurm" / "gate").touch()
    assert second.wait(timeout=300) == 0
    assert_same_tables(out, finished)
    finishers = events(out, "finished")
    assert len(finishers) == len(dict(finishers))
    assert dict(finishers)[done] == lost != dict(finishers)[half_done]
