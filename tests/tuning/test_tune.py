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
from dpbench.comparison.rivals import private_family
from dpbench.component import REGISTRIES
from dpbench.data import PopulationSpec, load_population
from dpbench.defenses.search import Choice, Search
from dpbench.errors import UserError
from dpbench.study.spec import read_grid
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


def sizes_of(trials):
    return {family.name: len(family.labels) for family in trials.families}


def test_every_defense_gets_as_many_trials(tmp_path):
    entries = [
        *GRID["defenses"],
        {"dp_sgd": {"epsilon": [1, 8]}},
        {"short_training": {"epochs": 3}},
    ]
    grid = grid_of(tmp_path, defenses=entries)
    trials = plan_trials(grid, trials=7, models=4)
    sizes = sizes_of(trials)
    # What takes no steps of the recipe and has no more to search than this is tried as often.
    assert sizes == dict.fromkeys(
        [
            "none", "l2", "early_stopping", "selena", "output_perturbation", "l2+temperature",
            "scattering", "dp_sgd(epsilon=1)", "dp_sgd(epsilon=8)", "short_training",
        ],
        7,
    )  # fmt: skip
    assert trials.grid.cells[0].label == "none"
    assert trials.grid.population.part == "tuning"
    assert trials.grid.models == 4
    assert plan_trials(grid, trials=7, models=4) == trials
    other = dataclasses.replace(grid, seed=1)
    assert plan_trials(other, trials=7, models=4).families != trials.families


def cells_of(trials, name):
    by_label = {cell.label: cell for cell in trials.grid.cells}
    (family,) = [family for family in trials.families if family.name == name]
    return [by_label[label] for label in family.labels]


def test_all_defenses_meet_the_same_recipes_and_the_first_is_the_grids(tmp_path):
    grid = grid_of(tmp_path)
    trials = plan_trials(grid, trials=9, models=4)
    recipes = [cell.adapt(grid.recipe) for cell in cells_of(trials, "none")]
    assert recipes[0] == grid.recipe
    for field in ("epochs", "lr", "batch_size"):
        values = {getattr(recipe, field) for recipe in recipes}
        assert len(values) >= 3, field
        assert min(values) < getattr(grid.recipe, field) < max(values)
    for name in ("selena", "scattering"):
        assert [cell.adapt(grid.recipe) for cell in cells_of(trials, name)] == recipes
    decayed = [cell.adapt(grid.recipe) for cell in cells_of(trials, "l2")]
    assert [dataclasses.replace(one, weight_decay=0.0) for one in decayed] == recipes


def test_dp_sgd_is_tuned_at_what_it_promises(tmp_path):
    augmented = [{"augmentation": {}}, {"dp_sgd": {"epsilon": 3.0}}]
    entries = ["none", {"dp_sgd": {"epsilon": [1, 8], "delta": 1e-6}}, augmented]
    entries.append({"dp_sgd": {"epsilon": 8, "optimizer": "adam"}})
    grid = grid_of(
        tmp_path, population=GRID["population"] | {"dataset": "fashion_mnist"}, defenses=entries
    )
    trials = plan_trials(grid, trials=12, models=4)
    family = cells_of(trials, "dp_sgd(epsilon=8, delta=1e-06)")
    parts = [cell.parts[-1] for cell in family]
    assert {(part.epsilon, part.delta) for part in parts} == {(8.0, 1e-6)}
    assert parts[0].borrows_schedule  # what is shipped is tried too
    rates = [part.lr for part in parts[1:]]
    assert max(rates) / min(rates) > 30  # log-uniform over two decades
    for field in ("epochs", "max_grad_norm", "batch_size"):
        assert len({getattr(part, field) for part in parts[1:]}) > 1, field
    # Copies of an example only where something tells them apart.
    assert {part.augmentations for part in parts} == {1}
    copies = {
        cell.parts[-1].augmentations for cell in cells_of(trials, "augmentation+dp_sgd(epsilon=3)")
    }
    assert copies == {1, 2, 4}
    adam = cells_of(trials, "dp_sgd(epsilon=8, optimizer=adam)")
    assert all(cell.parts[-1].optimizer == "adam" for cell in adam)
    assert max(cell.parts[-1].lr or 0 for cell in adam) <= 0.1
    for cell in trials.grid.cells:
        cell.mechanism(cell.adapt(grid.recipe).sampling(75.0))


@pytest.mark.parametrize("epochs", [2, 5, 60])
def test_what_a_defense_refuses_is_drawn_again(tmp_path, epochs):
    entries = ["none", {"early_stopping": {"epochs": 1}}, {"short_training": {"epochs": 1}}]
    grid = grid_of(tmp_path, recipe=GRID["recipe"] | {"epochs": epochs}, defenses=entries)
    trials = plan_trials(grid, trials=8, models=4)
    for cell in trials.grid.cells:
        assert cell.adapt(grid.recipe).epochs <= 1.5 * epochs
    assert sizes_of(trials) == {"none": 8, "early_stopping": 8, "short_training": 8}


def test_a_space_that_holds_no_valid_point_is_named(tmp_path):
    entries = ["none", {"short_training": {"epochs": 0.5}}]
    grid = grid_of(tmp_path, recipe=GRID["recipe"] | {"epochs": 0.9}, defenses=entries)
    with pytest.raises(UserError, match="short_training"):
        plan_trials(grid, trials=3, models=4)


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


def labels_of(trials, name):
    return next(family.labels for family in trials.families if family.name == name)


def test_the_least_leak_within_the_loss_is_chosen(tmp_path):
    trials = plan_trials(grid_of(tmp_path, defenses=GRID["defenses"][:2]), trials=4, models=4)
    none, shorter, shortest, broken_none = labels_of(trials, "none")
    weak, mid, strong, broken = labels_of(trials, "l2")
    cells, attacks = table(
        (none, 0.80, 0.30), (shorter, 0.796, 0.20), (shortest, 0.79, 0.10), (broken_none, 0.9, 0.0),
        (weak, 0.796, 0.25), (mid, 0.776, 0.10), (strong, 0.716, 0.05), (broken, 0.80, 0.0),
    )  # fmt: skip
    cells.loc[[3, 7], "status"] = "failed"
    chosen = choose(trials, cells, attacks, [0.01, 0.03, 0.1]).set_index("cell")["chosen_for"]
    # The baseline is as accurate as the best, up to the slack, and leaks less; losses are against
    # it: 0.776 loses 0.02, and 0.716 loses 0.08.
    assert chosen.to_dict() == {
        none: "", shorter: "baseline", shortest: "", broken_none: "",
        weak: "0.01", mid: "0.03", strong: "0.1", broken: "",
    }  # fmt: skip
    bad = [(cell, 0.5, 0.1) for cell in labels_of(trials, "l2")]
    rows = [(cell, 0.9, 0.3) for cell in labels_of(trials, "none")]
    nothing = choose(trials, *table(*rows, *bad), [0.01])
    assert (nothing.loc[nothing["family"] == "l2", "chosen_for"] == "").all()


def test_a_promise_is_tuned_for_accuracy(tmp_path):
    grid = grid_of(tmp_path, defenses=["none", {"dp_sgd": {"epsilon": [1, 8]}}])
    trials = plan_trials(grid, trials=3, models=4)
    strict, loose = (labels_of(trials, f"dp_sgd(epsilon={value})") for value in (1, 8))
    cells, attacks = table(
        *[(cell, 0.8, 0.3) for cell in labels_of(trials, "none")],
        (strict[0], 0.40, 0.01), (strict[1], 0.45, 0.02), (strict[2], 0.30, 0.0),
        (loose[0], 0.60, 0.01), (loose[1], 0.55, 0.02), (loose[2], 0.60, 0.03),
    )  # fmt: skip
    chosen = choose(trials, cells, attacks, [0.01]).set_index("cell")["chosen_for"]
    assert chosen[strict[1]] == chosen[loose[0]] == "promise"
    path = tmp_path / "tuned.yaml"
    rows = choose(trials, cells, attacks, [0.01])
    assert write_tuned_grid(grid, trials, rows, path, command="dpbench tune own") == 3
    tuned = read_grid(path)
    # A line of two strengths, each with its own schedule.
    assert [cell.label for cell in private_family(tuned.cells)] == [strict[1], loose[0]]


def test_the_tuned_grid_says_so_and_runs(tmp_path):
    grid = grid_of(tmp_path, defenses=[*GRID["defenses"][:2], "label_only"])
    trials = plan_trials(grid, trials=4, models=4)
    none, l2, mask = (labels_of(trials, name) for name in ("none", "l2", "label_only"))
    rows = [
        *[(cell, 0.8, 0.3 - 0.1 * (number == 2)) for number, cell in enumerate(none)],
        *[(cell, 0.8, 0.1 + number / 100) for number, cell in enumerate(l2)],
        *[(cell, 0.8, 0.3 - 0.1 * (number == 2)) for number, cell in enumerate(mask)],
    ]
    chosen = choose(trials, *table(*rows), [0.01, 0.1])
    path = tmp_path / "own-tuned.yaml"
    assert write_tuned_grid(grid, trials, chosen, path, command="dpbench tune own") == 3
    assert "dpbench tune own" in path.read_text()
    tuned = read_grid(path)
    by_label = {cell.label: cell for cell in trials.grid.cells}
    assert tuned.recipe == by_label[none[2]].adapt(grid.recipe)
    assert [cell.name for cell in tuned.cells] == ["none", "recipe+l2", "label_only"]
    # What each cell trains by is what was tried, though the grid's recipe is another one now.
    for label, cell in zip((none[2], l2[0], mask[2]), tuned.cells, strict=True):
        assert cell.adapt(tuned.recipe) == by_label[label].adapt(grid.recipe)
    assert tuned.population == grid.population
    assert tuned.models == grid.models
    # It can be tuned again: recipes are searched anew.
    assert sizes_of(plan_trials(tuned, trials=3, models=4)) == dict.fromkeys(
        ["none", "l2", "label_only"], 3
    )


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
    assert trials.groupby("family").size().to_dict() == {"none": 3, "l2": 3}
    assert list(trials["chosen_for"]).count("0.9") == 1
    assert list(trials["chosen_for"]).count("baseline") == 1
    assert len(read_grid(folder / "own-tuned.yaml").cells) == 2
    assert "warning: a model has 100 members while it is tuned, and 150" in done.stderr
