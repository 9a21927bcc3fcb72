"""A defense of one's own, from the command that writes it and from a package that is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

PACKAGE = Path(__file__).parents[1] / "example_package"
GRID = {
    "name": "own",
    "population": {"dataset": "letter", "pool": 80, "test": 60, "reference": 60},
    "model": {"name": "softmax"},
    "recipe": {"epochs": 5, "batch_size": 16, "lr": 0.1},
    "models": 4,
    "attacks": ["gap", "malt"],
}


def run(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | environment,
    )


def write(folder: Path, *defenses) -> Path:
    path = folder / "own.yaml"
    path.write_text(json.dumps(GRID | {"defenses": list(defenses)}))
    return path


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    made = run("dpbench.cli", "new-defense", "soft_blur", cwd=folder)
    assert made.returncode == 0, made.stderr
    assert "dpbench check soft_blur.py" in made.stdout
    return folder


def test_what_is_written_passes_its_check_and_its_test(written):
    checked = run("dpbench.cli", "check", "soft_blur.py", cwd=written)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    tested = run("pytest", "-q", "-p", "no:cacheprovider", "test_soft_blur.py", cwd=written)
    assert tested.returncode == 0, tested.stdout
    assert "2 passed" in tested.stdout
    assert len((written / "soft_blur.py").read_text().splitlines()) < 40


def test_what_is_written_runs_in_a_grid(written):
    grid = write(written, "none", {"soft_blur": {"weight": [0.1, 0.3]}})
    done = run("dpbench.cli", "run", grid, "--plugin", "soft_blur.py", "-j", "1", cwd=written)
    assert done.returncode == 0, done.stderr
    cells = pd.read_parquet(written / "results" / "own" / "cells.parquet").set_index("cell")
    assert list(cells["status"]) == ["done"] * 3
    assert "undo" in cells["adaptive"]["soft_blur(weight=0.3)"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("l2", "already"), ("Soft", "cannot name"), ("class", "cannot name"), ("a-b", "cannot name")],
)
def test_bad_names_are_explained(tmp_path, name, message):
    made = run("dpbench.cli", "new-defense", name, cwd=tmp_path)
    assert made.returncode == 2
    assert message in made.stderr
    assert "Traceback" not in made.stderr
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(written):
    before = (written / "soft_blur.py").read_text()
    made = run("dpbench.cli", "new-defense", "soft_blur", cwd=written)
    assert made.returncode == 2
    assert "exists" in made.stderr
    assert (written / "soft_blur.py").read_text() == before


def test_an_installed_package_needs_no_plugin(tmp_path):
    site = tmp_path / "site"
    source = tmp_path / "package"
    source.mkdir()
    for path in PACKAGE.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = source / path.relative_to(PACKAGE)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", site)
    installed = run("pip", "install", *options, source, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    grid = write(tmp_path, "none", {"quantile_clip": {"ceiling": 0.8}})
    without = run("dpbench.cli", "run", grid, "-j", "1", cwd=tmp_path)
    assert without.returncode == 2
    assert "unknown defense" in without.stderr
    done = run("dpbench.cli", "run", grid, "-j", "1", cwd=tmp_path, PYTHONPATH=str(site))
    assert done.returncode == 0, done.stderr
    cells = pd.read_parquet(tmp_path / "results" / "own" / "cells.parquet")
    assert list(cells["cell"]) == ["none", "quantile_clip(ceiling=0.8)"]
    assert list(cells["status"]) == ["done", "done"]
    check = "from dpbench.testing import check_defense; from example_defense import QuantileClip; "
    kept = subprocess.run(
        [sys.executable, "-c", check + "check_defense(QuantileClip())"],
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert kept.returncode == 0, kept.stderr
