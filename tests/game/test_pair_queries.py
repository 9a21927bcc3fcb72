"""Queries of the adversary's own choice, to the models of a finished run."""

import numpy as np
import pytest
import torch

import dpbench
from tests.tiny import context_of, run_tiny

MODELS = 18
"""More than one training job holds."""
ATTACKS = [
    "gap",
    {"boundary_distance": {"queries": 60, "models": 3, "points": 40}},
    "augmentation_regression",
    "outlier",
    "augmentation",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    run_tiny(folder, models=MODELS, defenses=["none", "label_only"], attacks=ATTACKS)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    return dpbench.load(folder / "out")


def test_a_pair_is_answered_by_its_own_model(folder, run):
    context = context_of(folder, models=MODELS, defenses=["none", "label_only"], attacks=ATTACKS)
    models = run.plan.cells[0].observe.models
    results = context.results(run.plan.cells[0].observe)
    inputs = torch.from_numpy(context.population.pool_x[:30])
    expected = models.query(results, inputs, name="all").numpy()
    rng = np.random.default_rng(0)
    asked, points = rng.integers(MODELS, size=50), rng.integers(30, size=(50, 3))
    found = models.query_each(results, asked, inputs[points], name="each").numpy()
    np.testing.assert_allclose(found, expected[asked[:, None], points], atol=1e-6)
    together = np.sort(asked)
    found = models.query_each(results, together, inputs[points], name="each").numpy()
    np.testing.assert_allclose(found, expected[together[:, None], points], atol=1e-6)
    with pytest.raises(IndexError, match="no model"):
        models.query_each(results, np.array([MODELS]), inputs[points[:1]], name="each")


def test_attacks_of_many_queries_run_on_their_part_of_the_cell(run):
    scores, members = run.scores("none", "boundary_distance")
    assert scores.shape == members.shape == (3, 40)
    right = run.outputs("none")[:3, :40].argmax(-1) == run.labels[:40]
    np.testing.assert_array_equal(scores > 0, right)
    rows = run.attacks.set_index(["cell", "attack", "knowledge"])
    row = rows.loc["none", "boundary_distance", "adaptive"]
    assert row["status"] == "done"
    assert 40 <= row["queries"] <= 60


def test_a_mask_that_keeps_the_label_changes_no_score_of_a_label_only_attack(run):
    for attack in ("gap", "boundary_distance", "augmentation_regression"):
        open_, masked = (run.scores(cell, attack)[0] for cell in ("none", "label_only"))
        np.testing.assert_array_equal(open_, masked)


def test_tables_say_why_letters_cannot_be_shifted(run):
    rows = run.attacks.set_index(["cell", "attack", "knowledge"])
    row = rows.loc["none", "augmentation", "adaptive"]
    assert row["status"] == "not_applicable"
    assert "only images" in row["reason"]
    assert rows.loc["none", "outlier", "adaptive"]["status"] == "done"


def test_inputs_that_cannot_be_written_to_are_answered_like_others(folder, run):
    context = context_of(folder, models=MODELS, defenses=["none", "label_only"], attacks=ATTACKS)
    job = next(row.scores for row in run.plan.cells[0].rows if row.name == "augmentation")
    results = context.results(job)
    inputs = job.view(results).inputs.copy()
    expected = job.view(results).target.predictions(inputs)
    inputs.flags.writeable = False  # a warning of torch's would fail the test
    np.testing.assert_array_equal(job.view(results).target.predictions(inputs), expected)
