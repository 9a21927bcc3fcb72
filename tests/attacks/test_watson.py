"""Difficulty calibration against a loop, and where it equals MAST."""

import numpy as np
import pytest
from slow_shadows import for_each, losses, out_mean
from views import random_outputs, view_of

from dpbench.attacks.base import Access, NotApplicable
from dpbench.attacks.malt import Malt
from dpbench.attacks.mast import Mast
from dpbench.attacks.watson import Watson
from dpbench.testing import auc, check_attack, plant

ATTACKS = [Watson(), Watson(statistic="confidence")]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
@pytest.mark.parametrize("static", [False, True])
def test_scores_are_those_of_a_loop(attack, static):
    outputs, labels, members = random_outputs(3, 7, 20, 4)
    shadows = random_outputs(99, 7, 20, 4)[0] if static else outputs
    found = attack.score(view_of(outputs, labels, members, shadows))
    own, others = -losses(outputs, labels), -losses(shadows, labels)
    if attack.statistic == "confidence":
        own, others = np.exp(own), np.exp(others)
    expected = for_each(members, lambda t, i: own[t, i] - out_mean(others, members, t, i))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_with_the_loss_it_is_mast_with_the_mean_of_the_out_side():
    view = view_of(*random_outputs(4, 9, 30, 5))
    mast = Mast(threshold="out_mean").score(view)
    np.testing.assert_allclose(Watson().score(view), mast, rtol=1e-12, atol=1e-12)


def test_one_shadow_already_helps_where_points_differ_in_difficulty():
    planted = plant(models=2, points=4000, effect=2.0, seed=0, spread=3.0)
    view = planted.view(access=Access.SCORE)
    found = {a.name: auc(a.score(view), planted.members) for a in (Malt(), *ATTACKS)}
    assert found["watson"] > found["malt"] + 0.02


def test_one_model_has_no_shadow():
    with pytest.raises(NotApplicable, match="without any"):
        Watson().score(view_of(*random_outputs(0, 1, 5, 3)))
