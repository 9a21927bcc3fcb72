"""A disk that fills up in the middle of a run, and one that cannot be written at all.

The disk is a small tmpfs in a mount namespace of its own, where a script works on it; what it saw
comes back as JSON.
"""

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from bench.kill_and_resume import TABLES

pytestmark = pytest.mark.e2e
ALONE = ["unshare", "--mount"] if os.getuid() == 0 else ["unshare", "--map-root-user", "--mount"]
GRID = {
    "name": "full",
    "population": {"dataset": "letter", "pool": 300, "test": 300, "reference": 100},
    "model": {"name": "mlp", "hidden": [32]},
    "recipe": {"epochs": 3, "batch_size": 16, "lr": 0.1},
    "models": 16,
    "defenses": ["none", {"l2": {"weight_decay": [0.001, 0.01]}}],
    "attacks": ["gap", "malt"],
}
# The plan fits beside the ballast, and the results do not.
SCRIPT = """
import json, subprocess, sys
from pathlib import Path
from dpbench.cli.execute import execute
from dpbench.cli.run_options import run_options
from dpbench.errors import UserError
from dpbench.study import execution
from dpbench.study.context import Context
from dpbench.study.spec import read_grid
from dpbench.jobs.store import Store

disk, grid, tables = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(disk)], check=True)

def context_of(out):
    return Context(grid=read_grid(grid), store=Store(out / "store"))

def state(out):
    store = Store(out / "store")
    folders = [store.root / name for name in ("claims", "deaths", "failures", "tmp")]
    left = [str(path) for folder in folders for path in folder.iterdir()]
    return {"finished": {key: store.digest(key) for key in sorted(store.finished())}, "left": left}

def stopped(out):
    try:
        execute(context_of(out), out, run_options(workers=1, device="cpu"))
    except UserError as error:
        return {"said": str(error)} | state(out)

def whole(out):
    context = context_of(out)
    plan = execution.prepare(context, out)
    execution.execute(context, plan, out, workers=0, report=lambda states: None)
    return {"tables": {name: (out / name).read_bytes().hex() for name in tables}} | state(out)

(disk / "ballast").write_bytes(bytes((16 << 20) - (1200 << 10)))
full = stopped(disk / "run")
(disk / "ballast").unlink()
freed = whole(disk / "run")
subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
locked = stopped(disk / "run")
clean = whole(grid.parent / "clean")
print(json.dumps({"full": full, "freed": freed, "locked": locked, "clean": clean}))
"""


def in_namespace(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*ALONE, *words], capture_output=True, text=True, timeout=900)


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict[str, Any]:
    """What the script saw."""
    if shutil.which("unshare") is None:
        pytest.skip("a disk of its own takes unshare (Linux)")
    folder = tmp_path_factory.mktemp("full")
    disk, grid = folder / "disk", folder / "full.yaml"
    disk.mkdir()
    grid.write_text(json.dumps(GRID))
    probe = in_namespace("mount", "-t", "tmpfs", "none", str(disk))
    if probe.returncode:
        pytest.skip(f"this system lets nobody mount a tmpfs here: {probe.stderr.strip()}")
    done = in_namespace(sys.executable, "-c", SCRIPT, str(disk), str(grid), *TABLES)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_a_full_disk_ends_the_run_with_a_message_and_damages_nothing(seen):
    full = seen["full"]
    assert "No space left on device" in full["said"]
    assert "the same command goes on from here" in full["said"]
    assert full["left"] == []
    assert full["finished"], "the disk was full before anything was finished"


def test_the_run_goes_on_when_there_is_room(seen):
    full, freed, clean = seen["full"], seen["freed"], seen["clean"]
    assert full["finished"].items() < freed["finished"].items()
    assert freed == clean


def test_a_disk_that_cannot_be_written_is_named(seen):
    assert "cannot be written (Read-only file system)" in seen["locked"]["said"]
    assert seen["locked"]["finished"] == seen["freed"]["finished"]
