"""Boundary LiRA against a loop over exact distances, on planted signals, and on trained models."""

import dataclasses

import numpy as np
import pytest
from linear_models import Linear, draw
from test_noise_lira import VARIANCES, slow
from views import random_outputs, view_of

from dpbench.attacks import Access, BoundaryDistance, BoundaryLira, NotApplicable
from dpbench.component import REGISTRIES
from dpbench.errors import UserError
from dpbench.testing import auc, check_attack, plant, standard_error

UNIT, FEATURES = 2.5, 10


def signed_roots(linear, labels):
    """Returns `sign(d) sqrt(|d|)` of the exact distances to the boundary between two classes."""
    logits, roots = linear.pool(), np.empty((len(linear.weights), len(labels)))
    for m, weights in enumerate(linear.weights):
        for i, y in enumerate(labels):
            gap = (weights[y] - weights[1 - y]) * UNIT
            far = (logits[m, i, y] - logits[m, i, 1 - y]) / np.linalg.norm(gap)
            roots[m, i] = np.sign(far) * np.sqrt(abs(far))
    return roots


def setting(attack, *, models, static):
    linear, labels = draw(models=2 * models, points=30, features=FEATURES, classes=2)
    targets, others = (
        Linear(linear.weights[some], linear.inputs) for some in (slice(models), slice(models, None))
    )
    members = np.random.default_rng(models).random((models, 30)) < 0.5
    ones, oracle = np.ones(FEATURES, np.float32), targets.oracle(attack.budget)
    view = view_of(
        np.zeros((models, 30, 2)),
        labels,
        members,
        inputs=linear.inputs,
        target=oracle,
        low=-100 * ones,
        high=100 * ones,
        unit=UNIT * ones,
        binary=ones < 0,
    )
    shadows = others.oracle(attack.budget) if static else oracle
    return dataclasses.replace(view, shadows=shadows), targets, others if static else targets


def test_contract():
    check_attack(BoundaryLira(queries=12))


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("static", [False, True])
def test_scores_are_those_of_a_loop_over_exact_distances(variance, static):
    attack = BoundaryLira(queries=600, variance=variance)
    view, targets, shadows = setting(attack, models=9, static=static)
    found = attack.score(view)
    exact = [signed_roots(models, view.labels) for models in (targets, shadows)]
    assert (exact[0] < 0).any()
    expected = slow(*exact, view.members, variance)
    # The search stops within a hundredth of the distance; ratios of small spreads magnify that.
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99
    assert 500 <= view.target.queries <= 600


def test_it_is_run_on_all_models_and_the_first_points():
    assert BoundaryLira().extent.of(64, 5000) == (64, 1000)
    assert BoundaryLira(points=None).extent.of(64, 5000) == (64, 5000)
    assert BoundaryLira().budget == 100


def test_calibration_finds_what_one_threshold_does_not():
    planted = plant(models=32, points=200, effect=2.0, seed=0, spread=2.0)
    ours, plain = (
        auc(attack.score(planted.view(access=Access.LABEL, budget=100)), planted.members)
        for attack in (BoundaryLira(), BoundaryDistance(queries=100))
    )
    assert ours > plain + 0.05


@pytest.mark.parametrize("shadows_effect", [None, 2.0])
def test_nothing_is_found_where_nothing_leaks(shadows_effect):
    planted = plant(models=24, points=300, effect=0.0, seed=4, shadows_effect=shadows_effect)
    scores = BoundaryLira(queries=40).score(planted.view(access=Access.LABEL))
    assert abs(auc(scores, planted.members) - 0.5) < 4 * standard_error(planted.members)


def test_two_models_are_too_few():
    planted = plant(models=2, points=20, effect=1.0, seed=0)
    with pytest.raises(NotApplicable, match="two shadow models"):
        BoundaryLira().score(planted.view(access=Access.LABEL))


def test_models_that_answer_only_about_sets_of_points_cannot_be_searched():
    with pytest.raises(NotApplicable, match="own choice"):
        BoundaryLira().score(view_of(*random_outputs(0, 8, 10, 3), access=Access.LABEL))


@pytest.mark.parametrize("fields", [{"queries": 1}, {"points": 0}, {"variance": 1}, {"models": 4}])
def test_wrong_fields_are_refused(fields):
    with pytest.raises(UserError, match=r"attacks\.boundary_lira"):
        REGISTRIES["attack"]["boundary_lira"].parse(fields, where="attacks.boundary_lira")
