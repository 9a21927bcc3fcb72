"""Options on how a grid is run mean the same in every command that runs one."""

import json

import pytest
from typer.testing import CliRunner

from dpbench.cli import app
from dpbench.cli import execute as cli_execute
from dpbench.errors import UserError
from dpbench.jobs.executors import Dask
from dpbench.jobs.store import Store
from dpbench.jobs.worker_config import Limits
from dpbench.study import execution
from dpbench.study.cell import Plan
from dpbench.study.context import Context
from dpbench.study.spec import read_grid

GRID = {
    "name": "base",
    "population": {"dataset": "letter", "pool": 60, "test": 40, "reference": 80},
    "model": {"name": "softmax"},
    "recipe": {"epochs": 2, "batch_size": 16, "lr": 0.1},
    "models": 4,
    "defenses": ["none", "label_only"],
    "attacks": ["gap"],
}
COMMANDS = {
    "run": ("base.yaml",),
    "compare": ("results/base", "--defense", "label_smoothing"),
    "tune": ("base.yaml", "--trials", "1", "--models", "4"),
    "reproduce": ("label-only", "--out", "papers"),
}
HOW = ("--job-timeout", "50", "--memory-limit", "2", "--retry-failed", "--progress", "json")


class Reached(Exception):
    """Work would begin here."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a grid and its run: `compare` wants a finished one."""
    folder = tmp_path_factory.mktemp("run_options")
    (folder / "base.yaml").write_text(json.dumps(GRID))
    out = folder / "results/base"
    context = Context(grid=read_grid(folder / "base.yaml"), store=Store(out / "store"))
    plan = execution.prepare(context, out)
    execution.execute(context, plan, out, workers=0, report=lambda states: None)
    return folder


@pytest.fixture
def folder(made, monkeypatch):
    monkeypatch.chdir(made)


@pytest.mark.parametrize("command", COMMANDS)
def test_options_reach_the_runner(command, folder, monkeypatch):
    told, forgotten = {}, []

    def execute(context, plan, out, **options):
        told.update(options)
        raise Reached

    monkeypatch.setattr(execution, "execute", execute)
    monkeypatch.setattr(cli_execute, "retry_failed", lambda store, jobs: forgotten.append(jobs))
    monkeypatch.setattr(execution, "prepare", lambda context, out: Plan((), {}))
    where = ("--executor", "dask: {address: tcp://host:1}", "-j", "3")
    result = CliRunner().invoke(app, [command, *COMMANDS[command], *where, *HOW])
    assert isinstance(result.exception, Reached), result.output
    report = told.pop("report")
    assert report._form == "json"
    assert told == {
        "workers": 3,
        "executor": Dask(address="tcp://host:1"),
        "limits": Limits(seconds=50, memory_gb=2),
    }
    assert len(forgotten) == 1


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("executor", "said"),
    [("slurmm", "'slurmm' is not known"), ("dask: {address: tcp://h:1}", "-j is missing")],
)
def test_what_cannot_start_workers_is_refused_first(command, executor, said, folder):
    result = CliRunner().invoke(app, [command, *COMMANDS[command], "--executor", executor])
    assert isinstance(result.exception, UserError), result.output
    assert said in str(result.exception)
