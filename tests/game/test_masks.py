"""Masks in a grid: what they hide from the adversary of their paper, and what others still find."""

import numpy as np
import pytest
import torch

import dpbench
from bench.claims.memguard import decided
from dpbench.attacks import Jia
from dpbench.defenses import Composition, DpSgd, HampOutput, MemGuard, Purification
from dpbench.game.attack import AttackJob
from dpbench.study.plan import make_plan
from dpbench.training.recipe import Sampling
from tests.tiny import context_of, run_tiny

MEMGUARD = {"memguard": {"epochs": 40, "lr": 0.2, "iterations": 40}}
MASKS = [MEMGUARD, "purification", "hamp_output", {"noise": {"scale": 0.3}}]
SETTINGS = {
    "population": {"dataset": "letter", "pool": 240, "test": 60, "reference": 120},
    "model": {"name": "mlp", "hidden": [64]},
    "recipe": {"epochs": 60, "batch_size": 16, "lr": 0.2, "momentum": 0.9},
    "models": 6,
    "defenses": ["none", *MASKS],
    "attacks": ["gap", "malt", "modified_entropy"],
}
OWN_ATTACK = Jia(epochs=25, learning_rate=0.1)
CELLS = (
    "memguard(epochs=40, lr=0.2, iterations=40)",
    "purification",
    "hamp_output",
    "noise(scale=0.3)",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    assert not run_tiny(folder, **SETTINGS).failures
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return dpbench.load(folder / "out")


def number(run, cell, attack, column, knowledge="adaptive"):
    rows = run.attacks.set_index(["cell", "attack", "knowledge"])
    return rows.loc[(cell, attack, knowledge), column]


@pytest.mark.parametrize("cell", CELLS)
def test_claim_12_no_label_changes(run, cell):
    plain, masked = run.outputs("none"), run.outputs(cell)
    assert not np.array_equal(plain, masked)
    np.testing.assert_array_equal(masked.argmax(-1), plain.argmax(-1))
    np.testing.assert_array_equal(run.scores(cell, "gap")[0], run.scores("none", "gap")[0])
    assert number(run, cell, "gap", "auc") == number(run, "none", "gap", "auc")


def test_claims_13_and_19_memguard_stops_its_own_attack_alone(run):
    plain, masked = (decided(run, cell, OWN_ATTACK).value for cell in ("none", CELLS[0]))
    assert plain > 0.6
    assert masked < 0.55
    for attack in ("malt", "modified_entropy"):
        plain, masked = (
            number(run, cell, attack, "balanced_accuracy") for cell in ("none", CELLS[0])
        )
        assert masked - 0.5 > 0.55 * (plain - 0.5)
    assert number(run, CELLS[0], "noise_robustness", "balanced_accuracy") > 0.7


@pytest.mark.parametrize("cell", CELLS)
def test_claim_13_the_best_adaptive_attack_is_not_below_the_gap_attack(run, cell):
    gap = number(run, "none", "gap", "balanced_accuracy")
    assert number(run, cell, "best", "balanced_accuracy") > gap - 0.02


def test_claim_14_averages_bring_back_what_noise_hid(run):
    noisy, plain = "noise(scale=0.3)", number(run, "none", "malt", "auc")
    assert number(run, noisy, "malt", "queries") == 64
    assert number(run, noisy, "malt", "queries", "static") == 1
    once, often = (number(run, noisy, "malt", "auc", how) for how in ("static", "adaptive"))
    assert once < plain - 0.03
    assert often > once + (plain - once) / 2


def test_an_answer_is_the_same_when_it_is_asked_again(folder, run):
    context = context_of(folder, **SETTINGS)
    observe = run.plan.cells[1].observe
    released, results = observe.models, context.results(observe)
    inputs = torch.from_numpy(context.population.pool_x[:40])
    first, again = (
        released.query(results, inputs, name=name).numpy() for name in ("first", "again")
    )
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(first, run.outputs(CELLS[0])[:, :40], rtol=1e-3, atol=1e-4)


def test_attacks_share_answers_that_none_can_change(folder):
    context = context_of(folder, **SETTINGS)
    jobs = [
        job
        for job in make_plan(context).jobs.values()
        if isinstance(job, AttackJob) and job.target.repeats > 1 and not job.within_folds
    ]
    first, second = (job.view(context.results(job)).target.scores() for job in jobs[:2])
    anew = jobs[1].view(context_of(folder, **SETTINGS).results(jobs[1])).target.scores()
    first[:] = 0
    np.testing.assert_array_equal(second, anew)


def test_a_claim_survives_the_masks_that_never_look_at_members():
    sampling = Sampling(rate=0.05, steps=100, batch=25.0, steps_per_epoch=20.0)
    for mask, kept in ((Purification(), True), (HampOutput(), True), (MemGuard(), False)):
        mechanism = Composition((DpSgd(epsilon=8.0), mask)).mechanism(sampling)
        assert (mechanism.claim is not None) is kept


def test_shadows_make_label_attacks_stronger(tmp_path):
    """On trained models, the same queries find more once they are compared with shadows'."""
    whole = {"models": None, "points": None, "queries": 100}
    changes = SETTINGS | {
        "models": 16,
        "defenses": ["label_only"],
        "attacks": ["gap", "noise_robustness", {"boundary_distance": whole}],
    }
    assert not run_tiny(tmp_path, **changes).failures
    rows = dpbench.load(tmp_path / "out").attacks
    found = rows[rows["knowledge"] == "adaptive"].set_index("attack")["auc"]
    for plain, calibrated in (
        ("gap", "label_lira"),
        ("noise_robustness", "noise_lira"),
        ("boundary_distance", "boundary_lira"),
    ):
        assert found[calibrated] > found[plain]
    assert found["boundary_lira"] > found["gap"] + 0.05
