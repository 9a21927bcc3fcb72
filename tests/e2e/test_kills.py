"""SIGKILL at workers and at the runner: the same tables, and nothing trained twice in vain.

A hundred of them at random moments: `python -m bench.kill_and_resume`.
"""

import json
import time

import pytest

from bench.kill_and_resume import PLUGIN, TABLES, Victim, same_tables
from dpbench.jobs.store import Store
from dpbench.study import execution
from dpbench.study.context import Context
from dpbench.study.spec import read_grid

GRID = {
    "name": "killed",
    "population": {"dataset": "letter", "pool": 400, "test": 100, "reference": 100},
    "model": {"name": "mlp", "hidden": [16]},
    "recipe": {"epochs": 30, "batch_size": 8, "lr": 0.05},
    "models": 8,
    "defenses": ["none", {"l2": {"weight_decay": 0.01}}, "label_only"],
    "attacks": ["gap", "malt"],
}


@pytest.mark.e2e
def test_kills_leave_no_trace(tmp_path):
    (tmp_path / "often.py").write_text(PLUGIN)
    grid = tmp_path / "killed.yaml"
    grid.write_text(json.dumps(GRID | {"plugins": [str(tmp_path / "often.py")]}))
    clean = tmp_path / "clean"
    context = Context(grid=read_grid(grid), store=Store(clean / "store"))
    plan = execution.prepare(context, clean)
    execution.execute(context, plan, clean, workers=0, report=lambda states: None)
    victim = Victim(grid, tmp_path / "run", workers=1)
    for kill in (victim.kill_worker, victim.kill_runner):
        deadline = time.monotonic() + 120
        while not (busy := victim.busy()):
            assert time.monotonic() < deadline
            assert victim.runner.poll() is None
            time.sleep(0.02)
        kill(*busy[: kill != victim.kill_runner])
    victim.finish()
    assert same_tables(victim.out, clean) == len(TABLES)
    found = victim.evidence()
    assert found.unexplained == 0
    assert found.starts > found.jobs == 2
    assert not list((victim.out / "store" / "partial").iterdir())
    assert not list((victim.out / "store" / "claims").iterdir())
