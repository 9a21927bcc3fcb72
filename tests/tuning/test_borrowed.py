"""Schedules of DP-SGD beside what they were tuned for: one warning for each that is borrowed."""

import json
import os
import subprocess
import sys

import pytest

import dpbench.attacks  # noqa: F401
from dpbench.defenses import DpSgd
from dpbench.defenses.dp_schedules import DEFAULT, SCHEDULES
from dpbench.errors import UserError
from dpbench.study.shipped import find_grid
from dpbench.study.spec import read_grid, read_grids
from dpbench.training.recipe import Recipe
from dpbench.tuning.borrowed import borrowed_schedules

HOME = {
    "name": "own",
    "population": {"dataset": "fashion_mnist", "pool": 5000, "average_pool": 2},
    "model": {"name": "mlp", "hidden": [128]},
    "models": 8,
    "attacks": ["gap"],
    "defenses": ["none", {"dp_sgd": {"epsilon": [1, 8]}}],
}


def warnings_of(tmp_path, **changes):
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(HOME | changes))
    return list(borrowed_schedules(read_grid(path), named="own.yaml"))


def test_at_home_nothing_is_said(tmp_path):
    assert warnings_of(tmp_path) == []
    assert warnings_of(tmp_path, population=HOME["population"] | {"pool": 4000}) == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"population": {"dataset": "letter", "pool": 5000}}, "mlp on letter (2,500 members)"),
        ({"population": HOME["population"] | {"pool": 800}}, "fashion_mnist (400 members"),
        ({"population": {"dataset": "fashion_mnist", "pool": 5000}}, "on fashion_mnist (2,500"),
        ({"population": HOME["population"] | {"classes": [3, 5]}}, "classes=[3, 5]"),
        ({"model": {"name": "mlp", "hidden": [64]}}, "mlp(hidden=[64]) on"),
        ({"model": {"name": "cnn"}}, "cnn on"),
        ({"defenses": ["none", ["scattering", {"dp_sgd": {"epsilon": 3}}]]}, "scattering+mlp"),
        ({"defenses": ["none", ["transfer", {"dp_sgd": {"epsilon": 3}}]]}, "transfer+mlp"),
    ],
)
def test_another_network_or_data_set_is_named_with_the_command(tmp_path, changes, said):
    (warning,) = warnings_of(tmp_path, **changes)
    assert said in warning
    assert "tuned for mlp on fashion_mnist (2,500 members, average_pool=2)" in warning
    assert "dpbench tune own.yaml" in warning


def test_a_schedule_of_ones_own_is_not_borrowed(tmp_path):
    own = {"epsilon": 8, "epochs": 20, "lr": 1.0}
    cnn = {"name": "cnn"}
    assert warnings_of(tmp_path, model=cnn, defenses=["none", {"dp_sgd": own}]) == []
    for missing in ("epochs", "lr"):
        fields = {name: value for name, value in own.items() if name != missing}
        assert len(warnings_of(tmp_path, model=cnn, defenses=["none", {"dp_sgd": fields}])) == 1


@pytest.mark.parametrize("name", [name for name in SCHEDULES if name != DEFAULT])
def test_shipped_grids_use_the_schedules_that_were_tuned_for_them(name):
    for grid in read_grids(find_grid(name)):
        plain = [cell for cell in grid.cells if cell.name == "dp_sgd"]
        assert plain
        assert {cell.parts[0].schedule for cell in plain if cell.parts[0].optimizer == "sgd"} == {
            name
        }
        for warning in borrowed_schedules(grid, named=name):
            # Only of cells whose network is not the grid's.
            assert "+" in warning.partition(":")[0] or "adam" in warning


def test_a_schedule_is_found_or_refused():
    recipe = DpSgd(epsilon=8.0).adapt(Recipe())
    assert (recipe.epochs, recipe.sampling_rate) == (100.0, 1.0)
    assert recipe.lr == pytest.approx(6.8)
    with pytest.raises(UserError, match="unknown schedule 'defuault'"):
        DpSgd(epsilon=8.0, schedule="defuault").adapt(Recipe())
    for schedule in SCHEDULES.values():
        epsilons = [point.epsilon for point in schedule.points]
        assert epsilons == sorted(set(epsilons))
        for point in schedule.points:
            found = schedule.at(point.epsilon)
            assert (found.steps, found.lr) == (point.steps, pytest.approx(point.lr))


@pytest.mark.e2e
def test_plan_and_run_say_it_on_stderr(tmp_path):
    path = tmp_path / "own.yaml"
    small = {"dataset": "letter", "pool": 100, "test": 50, "reference": 100}
    dp = {"dp_sgd": {"epsilon": 8, "lr": 0.5}}
    grid = HOME | {"population": small, "models": 4, "defenses": ["none", dp]}
    path.write_text(json.dumps(grid | {"recipe": {"epochs": 1}}))
    for words in (["plan", str(path)], ["run", str(path), "-j", "1"]):
        command = [sys.executable, "-m", "dpbench.cli", *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
        assert done.returncode == 0, done.stderr
        assert "warning: dp_sgd(epsilon=8, lr=0.5): the DP-SGD schedule 'default'" in done.stderr
        assert f"dpbench tune {path}" in done.stderr
        assert "warning" not in done.stdout
