"""The two attacks with a learned classifier: what each of them can and cannot see."""

import numpy as np
import pytest
from views import random_outputs, view_of

from dpbench.attacks.base import Access
from dpbench.attacks.malt import Malt
from dpbench.attacks.salem import Salem
from dpbench.attacks.shokri import Shokri
from dpbench.attacks.toolbox.shadow_classifier import membership_log_odds
from dpbench.testing import auc, check_attack, plant, standard_error


@pytest.mark.parametrize("attack", [Shokri(), Salem()], ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


def test_shokri_has_a_classifier_for_each_class_and_salem_one_on_three_sorted_scores():
    outputs, labels, members = random_outputs(0, 6, 50, 5)
    view = view_of(outputs, labels, members)
    by_class = membership_log_odds(outputs, outputs, members, groups=labels)
    assert np.array_equal(Shokri().score(view), by_class)
    largest = np.array([[sorted(p, reverse=True)[:3] for p in row] for row in outputs])
    one = membership_log_odds(largest, largest, members, groups=np.zeros(50, int))
    np.testing.assert_allclose(Salem().score(view), one, rtol=1e-12, atol=1e-12)


def test_salem_takes_all_scores_where_there_are_two():
    outputs, labels, members = random_outputs(1, 6, 50, 2)
    assert np.isfinite(Salem().score(view_of(outputs, labels, members))).all()


def test_shokri_finds_a_leak_that_differs_between_classes_and_hides_from_one_threshold():
    rng = np.random.default_rng(0)
    labels, members = rng.integers(2, size=500), rng.random((12, 500)) < 0.5
    # Members of class 0 are released with more confidence, those of class 1 with less.
    phi = np.where(labels == 0, 1.0, -1.0) * members + rng.standard_normal((12, 500))
    chance = 1 / (1 + np.exp(-phi))
    outputs = np.where(labels[:, None] == [0, 1], chance[..., None], 1 - chance[..., None])
    view = view_of(outputs, labels, members)
    noise = standard_error(members)
    assert auc(Malt().score(view), members) < 0.55
    assert auc(Shokri().score(view), members) > 0.76 - 4 * noise


def test_salem_sees_confidence_whatever_the_label():
    rng = np.random.default_rng(1)
    labels, members = rng.integers(10, size=500), rng.random((12, 500)) < 0.5
    logits = rng.standard_normal((12, 500, 10))
    logits[np.arange(12)[:, None], np.arange(500), rng.integers(10, size=(12, 500))] += 3
    scores = np.exp(logits * np.where(members, 2.0, 1.0)[..., None])
    view = view_of(scores / scores.sum(-1, keepdims=True), labels, members)
    assert auc(Salem().score(view), members) > 0.8


@pytest.mark.parametrize("attack", [Shokri(), Salem()], ids=lambda attack: attack.label())
def test_static_shadows_teach_what_the_target_no_longer_shows(attack):
    planted = plant(models=16, points=400, effect=0.0, seed=2, shadows_effect=3.0)
    found = auc(attack.score(planted.view(access=Access.SCORE, budget=1)), planted.members)
    assert found == pytest.approx(0.5, abs=5 * standard_error(planted.members))
