import math

import numpy as np
import pandas as pd
from simulated_run import attack_row, cell_row, simulated_run

from dpbench.report.results import epsilon_text, strongest, tables


def test_cells_are_ordered_by_family_and_strength(run):
    shuffled = simulated_run()
    shuffled.cells = shuffled.cells.sample(frac=1, random_state=3)
    cells = tables(shuffled).cells
    assert cells["defense"].iloc[0] == "none"
    epsilons = cells.loc[cells["defense"] == "dp_sgd", "epsilon"].to_numpy()
    np.testing.assert_array_equal(epsilons, [0.5, 1, 2, 4, 8, 16, 32, math.inf])
    assert cells.loc[cells["defense"] == "early_stopping", "strength"].tolist() == [
        *("1", "2", "5", "10")
    ]
    others = list(dict.fromkeys(cells["defense"]))[2:]
    assert others == sorted(others)


def test_variants_of_one_attack_have_their_own_labels(run):
    labels = set(tables(run).attacks["label"])
    assert {
        "lira (online, per_example)",
        "lira (online, pooled)",
        "lira (offline, pooled)",
    } < labels
    assert {"gap", "rmia"} < labels


def test_the_best_row_names_the_chosen_variant(run):
    points = tables(run).points.set_index("cell")
    assert points.loc["none", "advantage_attack"] == "lira (online, per_example)"
    assert points.loc["label_only", "advantage_attack"] == "noise_robustness"
    assert (
        points.loc["none", "advantage"]
        == run.attacks.query("cell == 'none' and attack == 'best' and knowledge == 'adaptive'")[
            "advantage"
        ].item()
    )


def test_strongest_prefers_the_chosen_attack_over_a_larger_number():
    changed = simulated_run()
    lucky = (changed.attacks["cell"] == "none") & (changed.attacks["attack"] == "gap")
    changed.attacks.loc[lucky, "advantage"] = 0.9
    assert strongest(tables(changed), "none")["label"] == "lira (online, per_example)"
    changed.attacks = changed.attacks[changed.attacks["attack"] != "best"]
    assert strongest(tables(changed), "none")["label"] == "gap"
    assert strongest(tables(changed), "selena") is None


def test_missing_columns_and_nullable_values_become_empty():
    cells = pd.DataFrame([{"cell": "none", "defense": "none", "status": "done"}])
    flagged = attack_row("none", "gap", "{}", shift=0.5) | {"violates_bound": pd.NA}
    run = simulated_run()
    run.cells, run.attacks = cells, pd.DataFrame([flagged])
    read = tables(run)
    assert math.isnan(read.cells["test_accuracy"].item())
    assert math.isinf(read.cells["epsilon"].item())
    assert not read.attacks["violates_bound"].item()
    run.attacks["violates_bound"] = pd.array([True], dtype="boolean")
    assert tables(run).attacks["violates_bound"].item()


def test_empty_frames_are_read():
    run = simulated_run()
    run.cells, run.attacks = pd.DataFrame(), pd.DataFrame()
    read = tables(run)
    assert read.cells.empty
    assert read.points.empty
    assert read.families == []


def test_text_that_is_not_json_does_not_stop_the_report():
    run = simulated_run()
    run.cells = pd.DataFrame([cell_row("a", "a", {}, 0.5) | {"params": "{broken"}])
    run.attacks = pd.DataFrame([attack_row("a", "best", "[1, 2]", shift=1.0)])
    assert tables(run).points["advantage_attack"].item() == ""


def test_families_that_sweep_several_fields_say_which():
    run = simulated_run()
    run.cells = pd.DataFrame(
        [
            cell_row("a", "x", [{"rate": 0.1}, {"k": 1}], 0.5),
            cell_row("b", "x", [{"rate": 0.2}, {"k": 3}], 0.6),
        ]
    )
    assert tables(run).cells["strength"].tolist() == ["rate=0.1, k=1", "rate=0.2, k=3"]


def test_epsilon_is_written_briefly():
    assert [epsilon_text(value) for value in (0.5, 8.0, 7.9961, 9999.98, math.inf)] == [
        *("0.5", "8", "8", "10000", "∞")
    ]
