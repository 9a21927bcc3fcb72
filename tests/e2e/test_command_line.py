"""The command line as a user meets it: exit codes, messages, resuming, plugins, the README."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dpbench

ROOT = Path(__file__).parents[2]
TABLES = ("cells.parquet", "cells.csv", "attacks.parquet", "attacks.csv")
GRID = {
    "name": "tiny",
    "population": {"dataset": "letter", "pool": 150, "test": 200, "reference": 150},
    "model": {"name": "mlp", "hidden": [16]},
    "recipe": {"epochs": 10, "batch_size": 16, "lr": 0.1},
    "models": 20,
    "defenses": ["none", {"dp_sgd": {"epsilon": [2]}}, "label_only"],
    "attacks": ["gap", "malt", "lira"],
}
NAN_PLUGIN = '''
from dataclasses import dataclass
import dpbench

@dpbench.register
@dataclass(frozen=True, kw_only=True)
class Broken(dpbench.Defense):
    """Its loss is not a number."""

    reference = "nowhere"

    def loss(self, logits, targets):
        return logits.sum(-1) * float("nan")
'''
pytestmark = pytest.mark.e2e


def dpbench_command(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "dpbench.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)


def write(folder: Path, name: str = "tiny.yaml", **changes: object) -> Path:
    path = folder / name
    path.write_text(json.dumps(GRID | changes))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    """A finished run of the tiny grid."""
    folder = tmp_path_factory.mktemp("finished")
    result = dpbench_command("run", write(folder), "-j", 2, cwd=folder)
    assert result.returncode == 0, result.stderr
    return folder


def test_a_run_leaves_what_the_contract_promises(finished):
    out = finished / "results" / "tiny"
    for name in (*TABLES, "grid.yaml", "report.html", "figures/utility_privacy.svg"):
        assert (out / name).stat().st_size > 0, name
    run = dpbench.load(out)
    assert list(run.cells["cell"]) == ["none", "dp_sgd(epsilon=2)", "label_only"]
    assert set(run.cells["status"]) == set(run.attacks["status"]) == {"done"}
    assert set(run.attacks["knowledge"]) == {"adaptive", "static"}
    scores, members = run.scores("none", "lira")
    assert scores.shape == members.shape == (20, 150)
    assert run.outputs("none").shape == (20, 150, 26)
    assert run.labels.shape == (150,)
    private = run.cells.set_index("cell").loc["dp_sgd(epsilon=2)"]
    assert 1.96 <= private["epsilon"] <= 2.0
    assert private["bound_advantage_mechanism"] <= private["bound_advantage_epsilon"]
    assert not run.attacks["violates_bound"].any()


def test_gap_accuracy_is_half_plus_half_the_gap_exactly(finished):
    """papers.md 5.4, claim 1, on the same points."""
    run = dpbench.load(finished / "results" / "tiny")
    right = run.outputs("none").argmax(-1) == run.labels
    _, members = run.scores("none", "gap")
    gap = right[members].mean() - right[~members].mean()
    rows = run.attacks.query("cell == 'none' and attack == 'gap'")
    assert rows["balanced_accuracy"].to_numpy() == pytest.approx(0.5 + gap / 2, abs=1e-12)


def test_labels_leave_label_attacks_bit_identical_and_make_malt_the_gap_attack(finished):
    run = dpbench.load(finished / "results" / "tiny")
    plain, masked = run.scores("none", "gap")[0], run.scores("label_only", "gap")[0]
    assert np.array_equal(plain, masked)
    rows = run.attacks.query("cell == 'label_only' and knowledge == 'adaptive'").set_index("attack")
    for column in ("advantage", "auc", "balanced_accuracy"):
        assert rows.loc["malt", column] == rows.loc["gap", column]


def test_running_again_computes_nothing_and_changes_no_byte(finished):
    out = finished / "results" / "tiny"
    before = {name: (out / name).read_bytes() for name in (*TABLES, "report.html")}
    jobs = {
        path: path.stat().st_mtime_ns for path in (out / "store/objects").glob("*/*/record.json")
    }
    result = dpbench_command("run", finished / "tiny.yaml", cwd=finished)
    assert result.returncode == 0
    assert before == {name: (out / name).read_bytes() for name in before}
    assert jobs == {
        path: path.stat().st_mtime_ns for path in (out / "store/objects").glob("*/*/record.json")
    }


def test_killing_everything_and_running_again_gives_the_same_bytes(finished, tmp_path):
    grid = write(tmp_path)
    command = [sys.executable, "-m", "dpbench.cli", "run", str(grid), "-j", "2"]
    objects = tmp_path / "results/tiny/store/objects"
    seen: dict[Path, int] = {}
    for wanted in (2, 8):
        with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as process:
            deadline = time.monotonic() + 120
            while len(list(objects.glob("*/*"))) < wanted and time.monotonic() < deadline:
                time.sleep(0.02)
            for pid in [*children(process.pid), process.pid]:
                os.kill(pid, signal.SIGKILL)
            process.wait()
        done = {path: path.stat().st_mtime_ns for path in objects.glob("*/*/record.json")}
        assert seen.items() <= done.items(), "finished work was done again"
        seen = done
    result = dpbench_command("run", grid, "-j", 2, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for path, modified in seen.items():
        assert path.stat().st_mtime_ns == modified
    for name in TABLES:
        clean = finished / "results" / "tiny" / name
        assert (tmp_path / "results/tiny" / name).read_bytes() == clean.read_bytes(), name


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += [int(child) for child in (task / "children").read_text().split()]
    return found


def test_a_defense_that_diverges_fails_alone(tmp_path):
    (tmp_path / "broken.py").write_text(NAN_PLUGIN)
    grid = write(tmp_path, defenses=["none", "broken"])
    result = dpbench_command("run", grid, "--plugin", "broken.py", cwd=tmp_path)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "diverged" in result.stderr
    run = dpbench.load(tmp_path / "results/tiny")
    cells = run.cells.set_index("cell")
    assert cells.loc["none", "status"] == "done"
    assert cells.loc["broken", "status"] == "failed"
    assert "not finite" in cells.loc["broken", "reason"]
    attacks = run.attacks.groupby("cell")
    assert set(attacks.get_group("none")["status"]) == {"done"}
    assert set(attacks.get_group("broken")["status"]) == {"failed"}
    assert attacks.get_group("broken")["auc"].isna().all()
    again = dpbench_command("run", grid, "--plugin", "broken.py", cwd=tmp_path)
    assert again.returncode == 1
    state = dpbench_command("status", "results/tiny", cwd=tmp_path)
    assert state.returncode == 0
    assert "1 failed, 17 blocked" in state.stdout


def test_the_defense_of_the_readme_runs(tmp_path):
    """The README's dozen lines, as printed, make a cell."""
    readme = (ROOT / "README.md").read_text()
    (code,) = [c for c in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "shrink.py" in c]
    assert len([line for line in code.splitlines() if line.strip()]) <= 14
    (tmp_path / "shrink.py").write_text(code)
    grid = write(tmp_path, defenses=["none", {"shrink": {"weight": [0.2, 0.9]}}])
    result = dpbench_command("run", grid, "--plugin", "shrink.py", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    run = dpbench.load(tmp_path / "results/tiny")
    assert list(run.cells["cell"])[1:] == ["shrink(weight=0.2)", "shrink(weight=0.9)"]
    auc = run.attacks.query("attack == 'malt' and knowledge == 'adaptive'")["auc"]
    assert auc.iloc[1] == pytest.approx(auc.iloc[0], abs=0.05)


def test_the_grid_of_the_readme_is_valid(tmp_path):
    readme = (ROOT / "README.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "mine.yaml").write_text(text)
    result = dpbench_command("plan", "mine.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "l2(weight_decay=0.01)+label_only" in result.stdout


LETTER = GRID["population"]
MISTAKES = {
    "misspelt key": ({"modles": 3}, "did you mean 'models'"),
    "wrong type": ({"recipe": {"lr": "fast"}}, "recipe.lr"),
    "unknown dataset": ({"population": LETTER | {"dataset": "leter"}}, "did you mean 'letter'"),
    "missing file": ({"population": {"dataset": "file", "path": "no.npz", "pool": 50}}, "no.npz"),
    "impossible epsilon": ({"defenses": [{"dp_sgd": {"epsilon": -2}}]}, "epsilon"),
    "both epsilon and noise": (
        {"defenses": [{"dp_sgd": {"epsilon": 2, "noise_multiplier": 1}}]},
        "exactly one",
    ),
    "zero models": ({"models": 0}, "models"),
    "NaN data": ({"population": {"dataset": "file", "path": "nan.npz", "pool": 50}}, "nan"),
    "pool too large": ({"population": LETTER | {"pool": 10**7}}, "pool"),
    "stop after the end": (
        {"defenses": [{"early_stopping": {"epochs": 99}}]},
        "later than the end",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_wrong_input_is_one_clear_message(tmp_path, mistake):
    changes, complaint = MISTAKES[mistake]
    inputs = np.full((200, 3), np.nan, dtype=np.float32)
    np.savez(tmp_path / "nan.npz", x=inputs, y=np.arange(200) % 2)
    result = dpbench_command("run", write(tmp_path, **changes), cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert complaint.lower() in result.stderr.lower()
    assert "Traceback" not in result.stderr
    assert len(result.stderr.splitlines()) <= 6
    assert not (tmp_path / "results").exists()


def test_a_wrong_digest_is_one_clear_message(tmp_path):
    folder = tmp_path / "data" / "location"
    folder.mkdir(parents=True)
    (folder / "dataset_location.tgz").write_bytes(b"not the archive")
    grid = write(tmp_path, population={"dataset": "location", "pool": 100})
    result = dpbench_command("run", grid, "--data-dir", tmp_path / "data", cwd=tmp_path)
    assert result.returncode == 2
    assert "dataset_location.tgz" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unwritable_folder_is_one_clear_message(tmp_path):
    (tmp_path / "file").write_text("")
    result = dpbench_command("run", write(tmp_path), "--out", tmp_path / "file/out", cwd=tmp_path)
    assert result.returncode == 2
    assert "cannot be written" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("what", ["attacks", "defenses", "datasets", "models", "grids"])
def test_lists(what):
    result = dpbench_command("list", what, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    assert {"attacks": "lira", "defenses": "dp_sgd", "datasets": "fashion_mnist"}.get(
        what, {"models": "mlp", "grids": "default"}.get(what)
    ) in result.stdout


def test_bound_and_doctor(tmp_path):
    result = dpbench_command("bound", "--epsilon", 1, "--delta", 0, cwd=tmp_path)
    assert result.returncode == 0
    assert "0.4621" in result.stdout
    result = dpbench_command("doctor", cwd=tmp_path)
    assert result.returncode == 0, result.stdout


def test_interrupting_is_resumable(tmp_path):
    grid = write(tmp_path, recipe={"epochs": 400, "batch_size": 16, "lr": 0.1})
    command = [sys.executable, "-m", "dpbench.cli", "run", str(grid)]
    # A shell starts what runs in its background deaf to Ctrl-C, and children inherit that.
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stderr is not None
        while "jobs" not in process.stderr.readline():
            pass
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
    assert process.returncode == 130


def test_importing_costs_no_torch():
    code = "import sys, dpbench; assert 'torch' not in sys.modules; assert dpbench.__version__"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_every_shipped_grid_is_valid(tmp_path):
    from dpbench.study.spec import read_grids

    files = set((ROOT / "grids").rglob("*.yaml"))
    grids = files - set((ROOT / "grids").rglob("*.expect.yaml"))
    assert len(grids) >= 3
    for path in sorted(grids):
        assert path.read_text().startswith("# ")
        assert all(grid.cells for grid in read_grids(path))


def test_tables_reload_from_csv_with_the_same_values(finished):
    out = finished / "results" / "tiny"
    for name in ("cells", "attacks"):
        text = pd.read_csv(out / f"{name}.csv", keep_default_na=False, dtype=str)
        assert list(text.columns) == list(pd.read_parquet(out / f"{name}.parquet").columns)
