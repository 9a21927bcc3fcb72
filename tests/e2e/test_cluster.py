"""Several machines on one folder, machines without one, and jobs that kill or stall a worker."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gated import GRID, assert_same_tables, command, compute, held, prepared, wait_for
from typer.testing import CliRunner

import dpbench
from dpbench.cli import app
from dpbench.errors import UserError
from dpbench.jobs.runner import retry_failed
from dpbench.jobs.store import Failure, Store
from dpbench.study import execution
from dpbench.study.folder import open_run

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """What one machine makes of the grid."""
    return compute(tmp_path_factory.mktemp("finished"))


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts commands as another machine would, and ends those that a test leaves behind."""
    started = []

    def begin(*words: object, home: Path) -> subprocess.Popen[bytes]:
        (home / "tmp").mkdir(parents=True)
        data = os.environ.get("DPBENCH_DATA", str(Path.home() / ".cache" / "dpbench"))
        own = {"HOME": str(home), "TMPDIR": str(home / "tmp"), "DPBENCH_DATA": data}
        process = subprocess.Popen(
            [sys.executable, "-m", "dpbench.cli", *map(str, words)],
            cwd=home,
            env=os.environ | own,
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # A shell starts what runs in its background deaf to Ctrl-C, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.terminate()
            process.wait(timeout=60)


def test_two_workers_and_a_runner_make_the_bytes_of_one_machine(finished, tmp_path, start):
    _, out = prepared(tmp_path)
    grid = out / "grid.yaml"
    crowd = [start("worker", out, home=tmp_path / name) for name in ("one", "two")]
    wait_for(lambda: len(held(out)) == 2, *crowd)
    state = command("status", out, cwd=tmp_path)
    for pid in held(out):
        assert f"process {pid}" in state.stdout
    assert "2 running" in state.stdout
    crowd.append(start("run", grid, "--out", out, "-j", "1", home=tmp_path / "three"))
    (tmp_path / "gate").touch()
    assert [process.wait(timeout=600) for process in crowd] == [0, 0, 0]
    assert_same_tables(out, finished)
    assert not list((out / "store" / "claims").iterdir())
    progress = json.loads((out / "progress.json").read_text())
    assert (progress["running"], progress["waiting"], progress["seconds_left"]) == ([], 0, 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_worker_that_is_told_to_stop_gives_its_claim_back(tmp_path, start, number):
    _, out = prepared(tmp_path)
    worker = start("worker", out, home=tmp_path / "one")
    wait_for(lambda: bool(held(out)), worker)
    worker.send_signal(number)
    assert worker.wait(timeout=300) == 130
    assert not list((out / "store" / "claims").iterdir())
    assert not list((out / "store" / "deaths").iterdir())


def test_a_job_that_kills_its_workers_fails_alone(tmp_path):
    _, out = prepared(tmp_path, defenses=["none", "deadly"])
    result = command("worker", out, cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "1 jobs failed" in result.stderr
    result = command("collect", out, cwd=tmp_path)
    assert result.returncode == 1
    cells = dpbench.load(out).cells.set_index("cell")
    assert cells.loc["none", "status"] == "done"
    assert cells.loc["deadly", "status"] == "failed"
    assert "died twice (signal SIGKILL" in cells.loc["deadly", "reason"]
    state = CliRunner().invoke(app, ["status", str(out)]).stdout
    assert "failed: train deadly models 0-7: the worker died twice" in state
    (log,) = [line.split("log: ")[1] for line in state.splitlines() if "log: " in line]
    events = [json.loads(line)["event"] for line in Path(log).read_text().splitlines()]
    assert events == ["started", "died", "started", "died", "failed"]


def test_retrying_computes_again_what_had_been_computed_without(finished, tmp_path):
    context, out = prepared(tmp_path)
    (tmp_path / "gate").touch()
    plan = execution.prepare(context, out)
    (job,) = (j for j in plan.jobs.values() if j.label == "gap on observe gated(number=2)")
    context.store.fail(job.key, Failure("failed", "stopped after 8 s (--job-timeout)"))
    outcome = execution.execute(context, plan, out, workers=0, report=lambda states: None)
    assert [why for _, why in outcome.failures] == ["stopped after 8 s (--job-timeout)"] * 2
    # That job, and both ensembles of its cell, which need two attacks.
    assert retry_failed(context.store, plan.jobs) == 3
    outcome = execution.execute(context, plan, out, workers=0, report=lambda states: None)
    assert not outcome.failures
    assert_same_tables(out, finished)


def test_a_worker_that_cannot_start_says_why(tmp_path):
    _, out = prepared(tmp_path)
    (tmp_path / "held.py").rename(tmp_path / "moved.py")
    result = command("worker", out, cwd=tmp_path)
    assert result.returncode == 2
    assert "held.py: no such file" in result.stderr
    result = command("worker", tmp_path, cwd=tmp_path)
    assert result.returncode == 2
    assert "no run here" in result.stderr


def test_stores_of_machines_that_share_nothing_make_the_tables_of_one(finished, tmp_path):
    """Each machine has another plugin path, and computes a part of the grid."""
    parts = {"one": GRID["defenses"][:2], "two": [*GRID["defenses"][2:], "none"]}
    outs = [compute(tmp_path / name, defenses=part) for name, part in parts.items()]
    _, out = prepared(tmp_path / "all")
    result = CliRunner().invoke(app, ["merge", str(out), *map(str, outs)])
    assert result.exit_code == 0, result.output
    assert_same_tables(out, finished)


def test_a_plugin_elsewhere_takes_the_place_of_the_missing_one(finished, tmp_path):
    _, out = prepared(tmp_path / "first")
    (tmp_path / "second").mkdir()
    moved = tmp_path / "second" / "held.py"
    (tmp_path / "first" / "held.py").rename(moved)
    assert open_run(out, plugins=[moved]).grid.plugins == (str(moved),)
    with pytest.raises(UserError, match="no such file"):
        open_run(out)


def test_garbage_goes_and_nothing_else(finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    whole = Store(out / "store").finished()
    for name in ("old", "fresh"):
        (out / "store" / "tmp" / f"ab.{name}").mkdir()
    os.utime(out / "store" / "tmp" / "ab.old", (0, 0))
    claim = {"key": "k", "host": "h", "machine": "m", "pid": 1, "born": "", "since": 0, "token": ""}
    dead = out / "store" / "claims" / "k"
    dead.write_text(json.dumps(claim))
    os.utime(dead, (0, 0))
    smaller = json.loads(json.dumps(GRID)) | {"plugins": [], "defenses": ["none", "label_only"]}
    (out / "grid.yaml").write_text(json.dumps(smaller))
    listed = CliRunner().invoke(app, ["gc", str(out), "--dry-run"])
    assert listed.exit_code == 0, listed.output
    assert f"{dead} (claim of a dead process)" in listed.output
    assert Store(out / "store").finished() == whole
    assert CliRunner().invoke(app, ["gc", str(out)]).exit_code == 0
    kept = execution.prepare(open_run(out), out).jobs.keys()
    assert Store(out / "store").finished() == kept
    assert kept < whole
    assert not dead.exists()
    assert [path.name for path in (out / "store" / "tmp").iterdir()] == ["ab.fresh"]
    again = CliRunner().invoke(app, ["gc", str(out)])
    assert again.output == "0 B removed\n"


def test_garbage_of_a_running_stranger_stays(finished, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(finished, out)
    store = Store(out / "store")
    claim = store.root / "claims" / "k"
    claim.write_text("")
    result = CliRunner().invoke(app, ["gc", str(out)])
    assert result.exit_code == 1
    assert isinstance(result.exception, UserError)
    assert "on a job that this grid does not have" in str(result.exception)
    claim.unlink()
    key = min(store.finished())  # of the grid, and so before a stranger is there
    store.publish("ff", {})
    (store.root / "tmp" / f"{key}.half").mkdir()
    os.utime(store.root / "tmp" / f"{key}.half", (0, 0))
    (store.root / "claims" / key).write_text("")
    assert CliRunner().invoke(app, ["gc", str(out)]).exit_code == 0
    assert (store.root / "tmp" / f"{key}.half").exists()
    assert not store.has("ff")
