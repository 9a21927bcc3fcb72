"""A grid whose workers can be held in the middle of a job, by a defense that waits for a file."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.kill_and_resume import TABLES
from dpbench.jobs.store import Store
from dpbench.study import execution
from dpbench.study.context import Context
from dpbench.study.spec import read_grid

GRID = {
    "name": "tiny",
    "population": {"dataset": "letter", "pool": 100, "test": 100, "reference": 100},
    "model": {"name": "mlp", "hidden": [8]},
    "recipe": {"epochs": 4, "batch_size": 16, "lr": 0.1},
    "models": 8,
    "defenses": ["none", {"gated": {"number": [1, 2]}}, "label_only"],
    "attacks": ["gap", "malt"],
}
PLUGIN = '''
import os, signal, time
from dataclasses import dataclass
from pathlib import Path
import dpbench

GATE = Path(__file__).with_name("gate")

@dpbench.register
@dataclass(frozen=True, kw_only=True)
class Gated(dpbench.Defense):
    """Trains like any other, once its gate or the gate of all is open."""

    reference = "nowhere"
    number: int = 1

    def prepare(self, data):
        own = GATE.with_name(f"gate{self.number}")
        while not GATE.exists() and not own.exists():
            time.sleep(0.02)
        return data

@dpbench.register
@dataclass(frozen=True, kw_only=True)
class Deadly(dpbench.Defense):
    """Takes its worker down, as running out of memory does."""

    reference = "nowhere"

    def prepare(self, data):
        os.kill(os.getpid(), signal.SIGKILL)
'''


def command(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "dpbench.cli", *map(str, words)]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=900)


def prepared(folder: Path, **changes: object) -> tuple[Context, Path]:
    """A planned run in a folder of its own, with the plugin beside it and the gate shut."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "held.py").write_text(PLUGIN)
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(GRID | {"plugins": [str(folder / "held.py")]} | changes))
    context = Context(grid=read_grid(path), store=Store(folder / "run" / "store"))
    execution.prepare(context, folder / "run")
    return context, folder / "run"


def compute(folder: Path, **changes: object) -> Path:
    """A run made by one process."""
    context, out = prepared(folder, **changes)
    (folder / "gate").touch()
    plan = execution.prepare(context, out)
    outcome = execution.execute(context, plan, out, workers=0, report=lambda states: None)
    assert not outcome.failures
    return out


def assert_same_tables(out: Path, clean: Path) -> None:
    for name in TABLES:
        assert (out / name).read_bytes() == (clean / name).read_bytes(), name


def wait_for(what: Callable[[], bool], *processes: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 600
    while not what():
        assert time.monotonic() < deadline
        assert all(process.poll() is None for process in processes)
        time.sleep(0.05)


def held(out: Path) -> set[int]:
    """The processes that hold a claim."""
    found = set()
    for path in (out / "store" / "claims").iterdir():
        text = path.read_text()
        found |= {json.loads(text)["pid"]} if text else set()
    return found


def held_jobs(out: Path) -> dict[str, str]:
    """Which node is on which job."""
    found = {}
    for path in (out / "store" / "claims").iterdir():
        text = path.read_text()
        if text:
            found[path.name] = json.loads(text)["host"]
    return found
