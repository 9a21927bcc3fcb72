"""BASE against a loop, and where it equals MAST and RMIA."""

from dataclasses import replace

import numpy as np
import pytest
from public_views import public_view
from slow_shadows import for_each, losses, out_mean, sides
from views import random_outputs, view_of

from dpbench.attacks.base import Access, NotApplicable
from dpbench.attacks.base_attack import SCALES, Base
from dpbench.attacks.malt import Malt
from dpbench.attacks.mast import Mast
from dpbench.attacks.rmia import Rmia
from dpbench.testing import auc, check_attack, plant, standard_error

ATTACKS = [
    Base(),
    Base(temperature=2.0),
    Base(mode="offline"),
    Base(mode="offline", scale=0.33, temperature=0.5),
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


def tempered(outputs, labels, temperature):
    return losses(outputs ** (1 / temperature), labels)


def slow(attack, outputs, shadows, labels, members, scale):
    own = tempered(outputs, labels, attack.temperature)
    chance = np.exp(-tempered(shadows, labels, attack.temperature))

    def score(t, i):
        if attack.mode == "offline":
            return -own[t, i] - scale[t] * np.log(out_mean(chance, members, t, i))
        mean = np.mean([np.mean(side) for side in sides(chance, members, t, i) if side])
        return -own[t, i] - np.log(mean)

    return for_each(members, score)


def tuned_by_hand(attack, shadows, labels, members):
    """The scale of each target: the best on the models of the other parity, one by one."""
    own = tempered(shadows, labels, attack.temperature)
    models = np.arange(len(members))
    scales = np.empty(len(members))
    for parity in (0, 1):
        half = models % 2 != parity
        bits = members[half]
        fixed = [
            slow(attack, shadows[half], shadows[half], labels, bits, np.full(len(own), scale))
            for scale in SCALES
        ]
        found = [
            np.mean([auc(s, b) for s, b in zip(scores, bits, strict=True)]) for scores in fixed
        ]
        scales[models % 2 == parity] = SCALES[int(np.argmax(np.round(found, 12)))]
    return scales


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
@pytest.mark.parametrize("static", [False, True])
def test_scores_are_those_of_a_loop(attack, static):
    outputs, labels, members = random_outputs(8, 8, 30, 4)
    outputs[members, labels[np.nonzero(members)[1]]] += 0.5
    shadows = random_outputs(99, 8, 30, 4)[0] if static else outputs
    scale = np.full(8, attack.scale or 0.0)
    if attack.mode == "offline" and attack.scale is None:
        scale = tuned_by_hand(attack, shadows, labels, members)
        assert 0 < scale.max() <= 1
    found = attack.score(view_of(outputs, labels, members, shadows))
    expected = slow(attack, outputs, shadows, labels, members, scale)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_offline_in_full_it_is_mast_with_the_soft_minimum():
    view = view_of(*random_outputs(4, 9, 30, 5))
    mast = Mast(threshold="soft_min").score(view)
    found = Base(mode="offline", scale=1.0).score(view)
    np.testing.assert_allclose(found, mast, rtol=1e-9, atol=1e-9)
    malt = Malt().score(view)
    np.testing.assert_allclose(Base(mode="offline", scale=0.0).score(view), malt, atol=1e-12)


def test_online_it_orders_a_targets_points_as_rmia_does():
    outputs, labels, members = random_outputs(5, 9, 40, 5)
    public, public_labels, _ = random_outputs(6, 9, 3000, 5)
    view = public_view(outputs, labels, public, public_labels, members)
    view = replace(view, shadows=view.target)
    rmia = Rmia().score(view)
    ours = Base().score(view_of(outputs, labels, members))
    for one, other in zip(ours, rmia, strict=True):
        assert (np.diff(other[np.argsort(one)]) >= 0).all()
        assert np.unique(other).size > 30


@pytest.mark.parametrize("attack", ATTACKS[:3], ids=lambda attack: attack.label())
def test_it_beats_one_threshold_for_all_points(attack):
    planted = plant(models=48, points=400, effect=1.5, seed=1, spread=2.0)
    view, members = planted.view(access=Access.SCORE, budget=1), planted.members
    found = auc(attack.score(view), members)
    assert found > planted.global_auc + 0.08
    assert found < planted.calibrated_auc + 4 * standard_error(members)


def test_tuning_needs_shadows_that_attack_shadows():
    outputs = random_outputs(0, 3, 20, 3)
    with pytest.raises(NotApplicable, match="four models"):
        Base(mode="offline").score(view_of(*outputs))
    assert np.isfinite(Base().score(view_of(*outputs))).all()
    with pytest.raises(NotApplicable, match="no shadow"):
        Base().score(view_of(*random_outputs(0, 1, 5, 3)))
