"""Published orderings, end to end on real images in miniature (reference: the numbered claims).

One small grid; every claim is checked with the margin that 32 models of 500 members resolve.
"""

import itertools

import numpy as np
import pandas as pd
import pytest

import dpbench
from bench.claims import few_models, score_attacks, white_box
from bench.claims.evidence import AUC, HOLDS, TPR01, at_least, difference, table
from dpbench.attacks import Lira, Rmia, View
from dpbench.jobs.store import Store
from dpbench.study import execution
from dpbench.study.context import Context
from dpbench.study.document import write_document
from dpbench.study.spec import read_grid

GRID = {
    "name": "orderings",
    "population": {
        "dataset": "fashion_mnist",
        "pool": 1000,
        "test": 1000,
        "reference": 1000,
        "average_pool": 2,
    },
    "model": {"name": "mlp", "hidden": [64]},
    "recipe": {"epochs": 40, "batch_size": 32, "lr": 0.05, "momentum": 0.9},
    "models": 32,
    "seed": 0,
    "defenses": [
        "none",
        {"dp_sgd": {"epsilon": [1, 8, float("inf")]}},
        {"l2": {"weight_decay": 0.1}},
        {"label_only": {"form": "flat"}},
        {"temperature": {"temperature": 5.0}},
    ],
    "attacks": ["gap", "malt", "mast", {"lira": {"mode": ["online", "offline"]}}],
}
pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> dpbench.Run:
    out = tmp_path_factory.mktemp("orderings")
    write_document(GRID, out / "orderings.yaml")
    context = Context(grid=read_grid(out / "orderings.yaml"), store=Store(out / "store"))
    plan = execution.prepare(context, out)
    outcome = execution.execute(context, plan, out, workers=0, report=lambda states: None)
    assert not outcome.failures
    return dpbench.load(out)


@pytest.fixture(scope="module")
def view(run) -> View:
    """The undefended models, for attacks that the grid does not hold: they cost no training."""
    return few_models.recorded(run, "none")


def row(run: dpbench.Run, cell: str, attack: str, knowledge: str = "adaptive") -> pd.Series:
    rows = run.attacks
    name, _, mode = attack.partition(":")
    rows = rows[
        (rows["cell"] == cell)
        & (rows["attack"] == name)
        & (rows["knowledge"] == knowledge)
        & rows["attack_params"].str.contains(mode or "{")
    ]
    return rows.iloc[0]


def test_claim_1_gap_accuracy_is_half_plus_half_the_gap(run):
    right = run.outputs("none").argmax(-1) == run.labels
    _, members = run.scores("none", "gap")
    gap = right[members].mean() - right[~members].mean()
    assert row(run, "none", "gap")["balanced_accuracy"] == pytest.approx(0.5 + gap / 2, abs=1e-12)


def test_claim_2_a_loss_threshold_beats_the_gap_attack(run):
    (line,) = score_attacks.threshold_beats_gap(run, "fashion_mnist")
    assert line.verdict == HOLDS, line.numbers


def test_claim_5_the_loss_attack_finds_nobody_at_low_fpr(run):
    malt = row(run, "none", "malt")
    assert malt["balanced_accuracy"] > 0.55
    assert malt["tpr_at_fpr_0.001"] < 0.005


def test_claim_6_calibrated_attacks_find_ten_times_more_at_low_fpr(run):
    malt = max(row(run, "none", "malt")["tpr_at_fpr_0.001"], 0.001)
    for attack in ("mast", "lira:online"):
        assert row(run, "none", attack)["tpr_at_fpr_0.001"] > 10 * malt


def test_claim_8_logit_scaling_needs_the_gaussian_ratio(run):
    alone, _ = score_attacks.logit_scaling(run, "fashion_mnist")
    assert alone.verdict == HOLDS, alone.numbers
    with_ratio = difference(table(run, "none", "lira")[AUC], table(run, "none", "mast")[AUC])
    assert at_least(with_ratio.interval) == HOLDS


def test_claim_9_few_shadows_want_a_pooled_variance(view):
    pooled, own = (
        few_models.in_blocks(Lira(variance=variance), view, 8)[TPR01]
        for variance in ("pooled", "per_example")
    )
    assert at_least(difference(pooled, own).interval) == HOLDS


def test_claim_10_phi_is_closest_to_gaussian(run):
    line = few_models.normality(run, "fashion_mnist")
    assert line.verdict == HOLDS, line.numbers


def test_claim_31_lira_is_precise_at_the_top_and_the_loss_attack_is_not(run):
    (line,) = white_box.precision_at_the_top(run, "fashion_mnist")
    assert line.verdict == HOLDS, line.numbers


def test_claim_35_rmia_ranks_better_with_two_reference_models(view):
    rmia, lira = (
        few_models.in_blocks(attack, view, 3)[AUC]
        for attack in (Rmia(mode="offline", a=0.3), Lira(mode="offline"))
    )
    assert at_least(difference(rmia, lira).interval) == HOLDS


def test_claim_7_online_beats_offline_beats_global(run):
    online, offline, malt = (
        row(run, "none", attack)["auc"] for attack in ("lira:online", "lira:offline", "malt")
    )
    assert online > offline + 0.02 > malt + 0.04


def test_claim_3_mast_beats_malt(run):
    for cell in ("none", "l2(weight_decay=0.1)", "dp_sgd(epsilon=8)"):
        assert row(run, cell, "mast")["auc"] > row(run, cell, "malt")["auc"]


def test_claims_12_and_13_masks_stop_static_score_attacks_and_nothing_else(run):
    flat, gap = "label_only(form=flat)", row(run, "none", "gap")
    assert np.array_equal(run.scores(flat, "gap")[0], run.scores("none", "gap")[0])
    assert row(run, flat, "malt", "static")["balanced_accuracy"] == 0.5
    for attack in ("malt", "lira:online"):
        assert row(run, flat, attack)["balanced_accuracy"] >= gap["balanced_accuracy"] - 0.02


def test_claim_14_temperature_is_recovered_by_who_knows_it(run):
    cell = "temperature"
    for attack in ("malt", "mast", "lira:online"):
        plain, masked = row(run, "none", attack), row(run, cell, attack)
        assert masked["auc"] == pytest.approx(plain["auc"], abs=1e-3)
        assert row(run, cell, attack, "static")["balanced_accuracy"] < 0.55


def test_claim_18_strong_decay_lowers_all_attacks_at_a_cost(run):
    cells = run.cells.set_index("cell")
    assert cells.loc["l2(weight_decay=0.1)", "test_accuracy"] < cells.loc["none", "test_accuracy"]
    for attack in ("gap", "malt", "mast", "lira:online"):
        assert row(run, "l2(weight_decay=0.1)", attack)["auc"] < row(run, "none", attack)["auc"]


def test_claims_21_and_28_leakage_and_utility_rise_with_epsilon(run):
    cells = run.cells.set_index("cell")
    order = [f"dp_sgd(epsilon={epsilon})" for epsilon in ("1", "8", "inf")]
    for below, above in itertools.pairwise(order):
        assert cells.loc[below, "test_accuracy"] < cells.loc[above, "test_accuracy"]
        assert row(run, below, "lira:online")["auc"] < row(run, above, "lira:online")["auc"]
    loose = row(run, "dp_sgd(epsilon=8)", "lira:online")["tpr_at_fpr_0.001"]
    assert loose < row(run, "none", "lira:online")["tpr_at_fpr_0.001"] / 4


def test_claims_26_and_27_attacks_stay_below_the_bounds_and_the_bounds_are_ordered(run):
    assert not run.attacks["violates_bound"].any()
    for _, cell in run.cells.query("epsilon < inf").iterrows():
        rows = run.attacks.query("cell == @cell.cell")
        assert (rows["advantage_low"] <= cell["bound_advantage_mechanism"]).all()
        assert (rows["epsilon_lower"] <= cell["epsilon"]).all()
        assert cell["bound_advantage_mechanism"] < 0.7 * cell["bound_advantage_epsilon"]
        fpr = np.array([1e-3, 1e-2, 0.1])
        limits = run.trade_off(cell["cell"], fpr)
        assert (limits >= fpr).all()
        assert (rows["tpr_at_fpr_0.01_low"] <= limits[1]).all()
