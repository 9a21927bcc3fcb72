"""Boundary distance: exact on linear models, limited to its extent, and better than correctness."""

import numpy as np
from linear_models import draw
from scipy.stats import spearmanr
from views import view_of

from dpbench.attacks import Access, BoundaryDistance, Gap
from dpbench.testing import auc, check_attack, plant


def test_contract():
    check_attack(BoundaryDistance(queries=40))


def test_scores_are_distances_in_raw_units():
    linear, labels = draw(models=2, points=50, features=20)
    ones = np.ones(20, np.float32)
    attack = BoundaryDistance(queries=800)
    view = view_of(
        linear.pool(),
        labels,
        np.zeros((2, 50), bool),
        inputs=linear.inputs,
        target=linear.oracle(attack.budget),
        low=-100 * ones,
        high=100 * ones,
        unit=2.5 * ones,
    )
    found, exact = attack.score(view), linear.exact(labels, 2.5)
    assert np.array_equal(found > 0, exact > 0)
    assert np.median(found[exact > 0] / exact[exact > 0]) < 1.01
    assert spearmanr(found.ravel(), exact.ravel()).statistic > 0.97
    assert 790 <= view.target.queries <= 800


def test_it_is_run_on_part_of_a_cell_unless_told_otherwise():
    assert BoundaryDistance().extent.of(64, 5000) == (4, 500)
    assert BoundaryDistance().budget == 2500
    assert BoundaryDistance(models=None, points=None).extent.of(64, 5000) == (64, 5000)


def test_distances_tell_more_than_correctness():
    planted = plant(models=16, points=150, effect=2.0, seed=1)
    view = planted.view(access=Access.LABEL, budget=200)
    distance = auc(BoundaryDistance(queries=200).score(view), planted.members)
    assert distance > auc(Gap().score(planted.view(access=Access.LABEL)), planted.members) + 0.05
