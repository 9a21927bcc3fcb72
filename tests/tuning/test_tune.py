"""Tuning: disjoint data, equal effort, the right choice, and a grid that runs."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import dpbench.attacks  # noqa: F401
from dpbench.component import REGISTRIES
from dpbench.data import PopulationSpec, load_population
from dpbench.defenses.search import Choice, Search
from dpbench.errors import UserError
from dpbench.grid.spec import read_grid
from dpbench.tuning.choose import choose
from dpbench.tuning.trials import plan_trials
from dpbench.tuning.tuned_grid import write_tuned_grid

GRID = {
    "name": "own",
    "population": {"dataset": "letter", "pool": 300, "test": 200, "reference": 400},
    "model": {"name": "mlp", "hidden": [16]},
    "recipe": {"epochs": 10, "batch_size": 16, "lr": 0.1},
    "models": 8,
    "attacks": ["gap", "malt"],
    "defenses": [
        "none",
        {"l2": {"weight_decay": [0.1, 0.2]}},
        {"early_stopping": {"patience": 2}},
        "selena",
        {"output_perturbation": {"epsilon": 2}},
        [{"l2": {"weight_decay": 0.1}}, {"temperature": {}}],
        "scattering",
    ],
}


def grid_of(tmp_path, **changes):
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(GRID | changes))
    return read_grid(path)


def test_tuning_data_are_neither_pool_nor_test():
    spec = PopulationSpec(dataset="fashion_mnist", pool=300, test=200, reference=400)
    tuning = dataclasses.replace(spec, part="tuning")
    evaluated, tuned = (load_population(one, seed=3, data_dir=None) for one in (spec, tuning))
    sizes = [len(part) for part in (tuned.pool_y, tuned.test_y, tuned.reference_y)]
    assert sizes == [200, 100, 100]

    def images(population, *parts):
        """Rows in raw units: the two games are standardised by different reference sets."""
        values = np.concatenate([getattr(population, part) for part in parts])
        raw = (values - population.low) / population.unit
        return {row.tobytes() for row in (255 * raw).round().astype(np.uint8)}

    used = images(tuned, "pool_x", "test_x", "reference_x")
    assert used <= images(evaluated, "reference_x")
    assert not used & images(evaluated, "pool_x", "test_x")


def test_the_parts_of_the_tuning_game_are_rows_of_the_reference_set():
    from dpbench.data import population as module

    seen = []
    real = module._tuning

    def spy(reference):
        split = real(reference)
        seen.append((reference, split))
        return split

    module._tuning = spy
    try:
        spec = PopulationSpec(dataset="letter", pool=300, test=200, reference=400, part="tuning")
        load_population(spec, seed=3, data_dir=None)
    finally:
        module._tuning = real
    ((reference, split),) = seen
    parts = [set(part.tolist()) for part in split]
    assert set.union(*parts) == set(reference.tolist())
    assert sum(len(part) for part in parts) == len(reference) == 400


def test_every_defense_gets_as_many_trials(tmp_path):
    trials = plan_trials(grid_of(tmp_path), trials=7, models=4)
    sizes = {family: len(labels) for family, labels in trials.families.items()}
    assert sizes == {
        "l2": 7,
        "early_stopping": 7,
        "selena": 7,
        "output_perturbation": 7,
        "l2+temperature": 7,
        "scattering": 1,
    }
    assert trials.grid.cells[0].name == "none"
    assert trials.grid.population.part == "tuning"
    assert trials.grid.models == 4
    again = plan_trials(grid_of(tmp_path), trials=7, models=4)
    assert again == trials


def test_trials_cover_the_space():
    search = REGISTRIES["defense"]["l2"].search["weight_decay"]
    assert search.at(0.0) == pytest.approx(1e-4)
    assert search.at(0.5) == pytest.approx((1e-4 * 0.3) ** 0.5, rel=0.01)
    assert search.at(0.999999) == pytest.approx(0.3, rel=0.01)
    assert [Search(1, 3, "integer").at(share) for share in (0, 0.4, 0.99)] == [1, 2, 3]
    assert [Choice(("a", "b")).at(share) for share in (0.2, 0.7)] == ["a", "b"]


def test_every_space_is_of_fields_that_exist_and_values_they_take():
    for cls in REGISTRIES["defense"].values():
        for share in (0.0, 0.5, 0.999):
            fields = {name: search.at(share) for name, search in cls.search.items()}
            required = {"epsilon": 1.0, "weight_decay": 0.1, "weight": 0.1}
            missing = {
                field: value
                for field, value in required.items()
                if field in cls.__dataclass_fields__ and field not in fields
            }
            cls.parse({**missing, **fields}, where=cls.name)


def table(*rows):
    cells = pd.DataFrame(
        [
            {
                "cell": cell,
                "params": "{}",
                "test_accuracy": accuracy,
                "test_accuracy_low": accuracy,
                "test_accuracy_high": accuracy,
                "status": "done",
                "reason": "",
            }
            for cell, accuracy, _ in rows
        ]
    )
    attacks = pd.DataFrame(
        [
            {
                "cell": cell,
                "attack": "best",
                "knowledge": "adaptive",
                "attack_params": '{"attack": "malt"}',
                "advantage": advantage,
                "advantage_low": advantage,
                "advantage_high": advantage,
                "status": "done",
                "reason": "",
            }
            for cell, _, advantage in rows
        ]
    )
    return cells, attacks


def test_the_least_leak_within_the_loss_is_chosen(tmp_path):
    trials = plan_trials(grid_of(tmp_path, defenses=GRID["defenses"][:2]), trials=4, models=4)
    weak, mid, strong, broken = trials.families["l2"]
    cells, attacks = table(
        ("none", 0.80, 0.30), (weak, 0.80, 0.25), (mid, 0.78, 0.10), (strong, 0.72, 0.05),
        (broken, 0.80, 0.0),
    )  # fmt: skip
    cells.loc[4, "status"] = "failed"
    chosen = choose(trials, cells, attacks, [0.01, 0.03, 0.1]).set_index("cell")["chosen_for"]
    assert chosen.to_dict() == {weak: "0.01", mid: "0.03", strong: "0.1", broken: ""}
    nothing = choose(trials, *table(("none", 0.9, 0.3), *[(c, 0.5, 0.1) for c in
                     trials.families["l2"]]), [0.01])  # fmt: skip
    assert (nothing["chosen_for"] == "").all()


def test_the_tuned_grid_says_so_and_runs(tmp_path):
    grid = grid_of(tmp_path, defenses=GRID["defenses"][:2])
    trials = plan_trials(grid, trials=4, models=4)
    rows = [("none", 0.8, 0.3), *[(c, 0.8, 0.1 + i / 100) for i, c in
            enumerate(trials.families["l2"])]]  # fmt: skip
    chosen = choose(trials, *table(*rows), [0.01, 0.1])
    path = tmp_path / "own-tuned.yaml"
    assert write_tuned_grid(grid, trials, chosen, path, command="dpbench tune own") == 1
    assert "dpbench tune own" in path.read_text()
    tuned = read_grid(path)
    assert [cell.label for cell in tuned.cells] == ["none", trials.families["l2"][0]]
    assert tuned.population == grid.population
    assert tuned.models == grid.models


def test_what_cannot_be_tuned_is_explained(tmp_path):
    with pytest.raises(UserError, match="compare"):
        plan_trials(grid_of(tmp_path, defenses=["label_only"]), trials=2, models=4)
    spec = PopulationSpec(dataset="letter", pool=300, test=200, reference=60, part="tuning")
    with pytest.raises(UserError, match="reference"):
        load_population(spec, seed=0, data_dir=None)


@pytest.mark.e2e
def test_the_command(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text(json.dumps(GRID | {"defenses": ["none", {"l2": {"weight_decay": 0.1}}]}))
    options = ["--trials", "3", "--models", "4", "-j", "1", "--accuracy-loss", "0.9"]
    command = [sys.executable, "-m", "dpbench.cli", "tune", str(path), *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results" / "own-tuning"
    trials = pd.read_csv(folder / "trials.csv", dtype=str, keep_default_na=False)
    assert len(trials) == 3
    assert list(trials["chosen_for"]).count("0.9") == 1
    assert len(read_grid(folder / "own-tuned.yaml").cells) == 2
