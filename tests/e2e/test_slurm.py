"""A grid on a real Slurm: two nodes, one of which is lost midway."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gated import assert_same_tables, compute, held_jobs, prepared, wait_for
from loopback_slurm import LoopbackSlurm

from dpbench.grid import runner

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


def test_a_run_outlives_preemption_an_interruption_and_a_node(slurm, tmp_path):
    cells = {"defenses": ["none", {"gated": {"number": [1, 2, 3]}}]}
    finished = compute(tmp_path / "clean", **cells)
    context, out = prepared(tmp_path / "slurm", **cells)
    jobs = runner.prepare(context, out).jobs.values()
    number = {"train gated models 0-7": 1} | {
        f"train gated(number={n}) models 0-7": n for n in (2, 3)
    }
    gated = {job.key: number[job.label] for job in jobs if job.label in number}

    def two_are_held(*but: str) -> bool:
        held = held_jobs(out).keys()
        return len(held) == 2 and held <= gated.keys() - set(but)

    first = start(slurm, out)
    wait_for(two_are_held, first)
    assert set(held_jobs(out).values()) == {"n1", "n2"}
    assert slurm.ask("squeue", "--noheader", "--array", "--format=%k").split() == ["tiny"] * 2
    # What Slurm sends before it preempts: the claim is given back, and the task queued again.
    tasks = dict(map(str.split, slurm.ask("squeue", "--noheader", "--format=%N %i").splitlines()))
    slurm.ask("scancel", "--signal=USR2", tasks["n1"])
    wait_for(lambda: set(held_jobs(out).values()) == {"n2"}, first)
    wait_for(lambda: "Restarts=1" in slurm.ask("scontrol", "show", "job", tasks["n1"]), first)
    assert not list((out / "store" / "deaths").iterdir())
    first.send_signal(signal.SIGINT)
    assert first.wait(timeout=300) == 130
    wait_for(lambda: not held_jobs(out) and not slurm.ask("squeue", "--noheader"))

    second = start(slurm, out)
    wait_for(two_are_held, second)
    done, lost = next(iter(held_jobs(out).items()))
    (tmp_path / "slurm" / f"gate{gated[done]}").touch()
    wait_for(lambda: two_are_held(done), second)
    (half_done,) = (job for job, node in held_jobs(out).items() if node == lost)
    slurm.switch_off(lost)
    (tmp_path / "slurm" / "gate").touch()
    assert second.wait(timeout=300) == 0
    assert_same_tables(out, finished)
    by = dict(events(out, "finished"))
    assert by[done] == lost
    assert by[half_done] != lost
    assert len(by) == len(events(out, "finished"))
