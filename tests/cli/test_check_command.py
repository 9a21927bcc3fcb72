"""Attacks and defenses of one's own: one file each, checked, run, and refused when they cheat."""

import json
import subprocess
import sys

import pandas as pd
import pytest

import dpbench.attacks  # noqa: F401
from dpbench.cli.check import refuse_cheats, registered_by
from dpbench.cli.components import cost
from dpbench.component import REGISTRIES
from dpbench.errors import UserError

HEAD = '''
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
import dpbench
from dpbench.attacks import Access

@dpbench.register
@dataclass(frozen=True, kw_only=True)
class {name}(dpbench.Attack):
    """The true class's score."""

    reference: ClassVar[str] = "a test"
    access: ClassVar[Access] = Access.{access}
    needs_shadows: ClassVar[bool] = {shadows}

    def score(self, view):
        own = view.target.scores()[:, np.arange(len(view.labels)), view.labels].astype(float)
        return {score}
'''
GRID = {
    "name": "own",
    "population": {"dataset": "letter", "pool": 60, "test": 50, "reference": 50},
    "model": {"name": "softmax"},
    "recipe": {"epochs": 3, "batch_size": 16, "lr": 0.1},
    "models": 4,
    "defenses": ["none"],
}
SHRINK = '''
from dataclasses import dataclass
import dpbench

@dpbench.register
@dataclass(frozen=True, kw_only=True)
class HalfWay(dpbench.Defense):
    """Half of the way to the uniform distribution."""

    reference = "a test"

    def release(self, outputs):
        return 0.5 * outputs + 0.5 / outputs.shape[-1]
'''


@pytest.fixture(autouse=True)
def _forget_what_is_registered():
    before = {kind: dict(registry) for kind, registry in REGISTRIES.items()}
    yield
    for kind, registry in before.items():
        REGISTRIES[kind].clear()
        REGISTRIES[kind].update(registry)


def write(folder, name, *, access="SCORE", shadows=False, score="own"):
    path = folder / f"{name.lower()}.py"
    path.write_text(HEAD.format(name=name, access=access, shadows=shadows, score=score))
    return path


def command(*arguments, cwd):
    line = [sys.executable, "-m", "dpbench.cli", *map(str, arguments)]
    return subprocess.run(line, cwd=cwd, capture_output=True, text=True, timeout=300)


@pytest.mark.e2e
def test_an_attack_is_one_file_that_runs(tmp_path):
    plugin = write(tmp_path, "Own")
    (tmp_path / "own.yaml").write_text(json.dumps(GRID | {"attacks": ["own", "gap"]}))
    result = command("run", "own.yaml", "--plugin", plugin, "-j", 1, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    rows = pd.read_csv(tmp_path / "results/own/attacks.csv")
    assert (rows.query("attack == 'own'")["status"] == "done").all()


@pytest.mark.e2e
def test_an_attack_that_peeks_is_refused_before_anything_runs(tmp_path):
    plugin = write(tmp_path, "Peeks", shadows=True, score="own + 0.1 * view.members")
    (tmp_path / "own.yaml").write_text(json.dumps(GRID | {"attacks": ["peeks"]}))
    result = command("run", "own.yaml", "--plugin", plugin, cwd=tmp_path)
    assert result.returncode == 2
    assert "peeks is refused" in result.stderr
    assert "own membership bits" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()


@pytest.mark.e2e
def test_check_says_what_is_wrong_with_which_component(tmp_path):
    good, bad = write(tmp_path, "Good"), write(tmp_path, "Bad", score="-own")
    assert command("check", good, cwd=tmp_path).returncode == 0
    result = command("check", bad, cwd=tmp_path)
    assert result.returncode == 1
    assert "FAILED" in result.stdout
    assert "higher scores must mean" in " ".join(result.stdout.replace("│", " ").split())
    empty = tmp_path / "empty.py"
    empty.write_text("import dpbench\n")
    result = command("check", empty, cwd=tmp_path)
    assert result.returncode == 2
    assert "registers no attack and no defense" in result.stderr


def test_check_finds_defenses_too(tmp_path):
    path = tmp_path / "half_way.py"
    path.write_text(SHRINK)
    assert [(cls.kind, cls.name) for cls in registered_by(path)] == [("defense", "half_way")]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"access": "LABEL"}, "score access is needed, label given"),
        ({"score": "own + 0 * view.target.scores()[..., 0]"}, "exceeds the budget of 1"),
        ({"score": "own + 0 * view.target.logits()[..., 0]"}, "white_box access is needed"),
        ({"score": "own + 0 * view.shadows.scores()[..., 0]"}, "exceeds the budget of 0"),
        ({"score": "own[:, :3]"}, "shape"),
        ({"score": "1 / 0"}, "ZeroDivisionError on planted models"),
    ],
)
def test_what_exceeds_its_access_or_breaks_is_refused(tmp_path, changes, reason):
    (cls,) = registered_by(write(tmp_path, "Spoilt", **changes))
    with pytest.raises(UserError, match=reason):
        refuse_cheats((cls(),))


def test_a_weak_but_honest_attack_is_not_refused(tmp_path):
    (cls,) = registered_by(write(tmp_path, "Weak", score="-own"))
    refuse_cheats((cls(),))


def test_costs_are_those_of_the_attack():
    attacks = REGISTRIES["attack"]
    assert cost(attacks["gap"]()) == "1 query"
    assert cost(attacks["lira"](queries=2)) == "2 queries, shadows"
    assert cost(attacks["attack_d"](students=3)) == "2 queries, 3 trainings per target"
