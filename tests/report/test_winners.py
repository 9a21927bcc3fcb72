"""Every number of a `best` row has an attack of its own, whatever the version of the tables."""

import json

import pytest
from simulated_run import simulated_run, with_canaries

from dpbench.report.explorer import knowledge
from dpbench.report.main_table import main_numbers, main_table
from dpbench.report.results import tables, upper_limits
from dpbench.report.winners import AttackVariant, ids_by_metric, labels_of_ids

VARIANTS = [
    AttackVariant("lira", {"mode": "online", "variance": "pooled"}, "lira (online, pooled)"),
    AttackVariant("lira", {"mode": "offline", "variance": "pooled"}, "lira (offline, pooled)"),
    AttackVariant(
        "lira", {"mode": "offline", "variance": "per_example"}, "lira (offline, per_example)"
    ),
    AttackVariant("rmia", {"gamma": 2.0, "on": [1, 2.5], "deep": None}, "rmia"),
    AttackVariant("ensemble", {"attacks": ["gap"]}, "ensemble"),
    AttackVariant("ensemble", {"attacks": ["gap", "rmia"]}, "ensemble"),
]


@pytest.mark.parametrize("order", [1, -1])
def test_ids_that_say_more_are_resolved_before_those_that_fit_every_variant(order):
    ids = ["lira", "lira(mode=offline)", "lira(mode=offline, variance=per_example)"][::order]
    assert labels_of_ids(ids, VARIANTS) == {
        "lira": "lira (online, pooled)",
        "lira(mode=offline)": "lira (offline, pooled)",
        "lira(mode=offline, variance=per_example)": "lira (offline, per_example)",
    }


def test_what_stays_unclear_keeps_its_id():
    ids = ["lira(mode=offline)", "gone(a=1)", "ensemble", "rmia(gamma=2, on=[1, 2.5])"]
    assert labels_of_ids(ids, VARIANTS) == {
        "lira(mode=offline)": "lira(mode=offline)",
        "gone(a=1)": "gone(a=1)",
        "ensemble": "ensemble",
        "rmia(gamma=2, on=[1, 2.5])": "rmia",
    }


@pytest.mark.parametrize("text", ["", "{broken", "[]", "3", '{"advantage": 3, "auc": null}'])
def test_a_field_without_winners_names_nobody(text):
    assert ids_by_metric(text) == {}


def test_every_metric_has_a_winner_of_its_own():
    run = with_canaries(simulated_run())
    run.attacks["winners"] = run.attacks["canary_winners"] = ""
    row = (run.attacks["cell"] == "none") & (run.attacks["attack"] == "best")
    winners = {"advantage": "gap", "tpr_at_fpr_0.01": "ensemble", "tpr_at_fpr_0.001": "malt"}
    run.attacks.loc[row, "winners"] = json.dumps(winners)
    canary = {"advantage": "rmia", "tpr_at_fpr_0.001": "lira(mode=offline, variance=pooled)"}
    run.attacks.loc[row, "canary_winners"] = json.dumps(canary)
    read = tables(run)
    numbers = main_numbers(read).set_index("cell").loc["none"]
    assert numbers["advantage_attack"] == "gap"
    assert numbers["tpr_at_fpr_0.001_attack"] == "malt"
    assert numbers["canary_tpr_at_fpr_0.001_attack"] == "lira (offline, pooled)"
    table = main_table(read).set_index("cell").loc["none"]
    assert table["advantage"].endswith("\ngap")
    assert table["TPR at 0.1 % FPR, %"].endswith("\nmalt")
    assert table["the same on canaries, %"].endswith("\nlira (offline, pooled)")
    best = knowledge(run, read)["cells"][0]["best"][0][1]
    assert best["average"] == winners
    assert best["canary"]["advantage"] == "rmia"
    # Where `canary_winners` is silent, the one attack of earlier versions stands.
    assert best["canary"]["tpr_at_fpr_0.01"] == "lira (online, per_example)"


def test_earlier_tables_name_one_attack_for_all_metrics(run):
    best = tables(run).points.set_index("cell").loc["label_only"]
    names = ("advantage", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")
    assert {best[f"{name}_attack"] for name in names} == {"noise_robustness"}


def test_the_upper_limit_of_a_cell_is_that_of_any_attack_on_it(run):
    changed = simulated_run()
    row = (changed.attacks["cell"] == "hamp") & (changed.attacks["attack"] == "malt")
    changed.attacks.loc[row & (changed.attacks["knowledge"] == "static"), "advantage_high"] = 0.77
    limits, before = (
        upper_limits(tables(changed), "advantage"),
        upper_limits(tables(run), "advantage"),
    )
    assert limits["hamp"] == 0.77
    assert limits.drop("hamp").equals(before.drop("hamp"))
