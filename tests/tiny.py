"""A grid that runs in a second or two, and what is needed to run it in this process."""

import json
from pathlib import Path
from typing import Any

from dpbench.jobs.job import Job
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.store import Store
from dpbench.study import execution
from dpbench.study.context import Context
from dpbench.study.spec import read_grid
from dpbench.study.worker import worker_of

TINY: dict[str, Any] = {
    "name": "tiny",
    "population": {"dataset": "letter", "pool": 150, "test": 200, "reference": 150},
    "model": {"name": "mlp", "hidden": [16]},
    "recipe": {"epochs": 10, "batch_size": 16, "lr": 0.1},
    "models": 8,
    "seed": 0,
    "defenses": ["none", {"l2": {"weight_decay": 0.01}}, "label_only"],
    "attacks": ["gap", "malt", "lira"],
}


def write_grid(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tiny.yaml"
    path.write_text(json.dumps(TINY | changes).replace("Infinity", ".inf"))
    return path


def context_of(folder: Path, **changes: Any) -> Context:
    grid = read_grid(write_grid(folder, **changes))
    return Context(grid=grid, store=Store(folder / "out" / "store"))


def run_tiny(folder: Path, **changes: Any) -> execution.Outcome:
    context = context_of(folder, **changes)
    plan = execution.prepare(context, folder / "out")
    return execution.execute(context, plan, folder / "out", workers=0, report=lambda states: None)


def work(context: Context, states: JobStates[Job]) -> None:
    """Runs every open job in this process."""
    worker_of(context).work(states)
