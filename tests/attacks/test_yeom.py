"""Yeom et al.'s two adversaries: a closed form for the coin, SciPy's normal for the Gaussians."""

import numpy as np
import pytest
from scipy.stats import norm
from views import random_outputs, view_of

from dpbench.attacks.base import Access, NotApplicable
from dpbench.attacks.malt import Malt
from dpbench.attacks.toolbox.confidence import cross_entropy
from dpbench.attacks.yeom_bounded_loss import YeomBoundedLoss
from dpbench.attacks.yeom_gaussian import YeomGaussian
from dpbench.component import REGISTRIES
from dpbench.errors import UserError
from dpbench.testing import auc, check_attack, plant

ATTACKS = [YeomGaussian(), YeomBoundedLoss(), YeomBoundedLoss(bound=4.0)]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


@pytest.mark.parametrize("bound", [0.2, 1.0, 5.0])
def test_the_advantage_of_the_coin_is_the_gap_of_the_bounded_loss(bound):
    planted = plant(models=64, points=3000, effect=1.5, seed=0)
    bits = planted.members
    view = planted.view(access=Access.SCORE, budget=1)
    scores = YeomBoundedLoss(bound=bound).score(view)
    outputs = planted.target.outputs().astype(float)
    loss = -np.log(outputs[:, np.arange(3000), view.labels])
    chance = np.minimum(loss, bound) / bound
    expected = chance[~bits].mean() - chance[bits].mean()
    # Given the losses, decisions are independent coins: this is the exact standard error.
    variance = chance * (1 - chance)
    error = np.sqrt(
        variance[bits].sum() / bits.sum() ** 2 + variance[~bits].sum() / (~bits).sum() ** 2
    )
    assert error < 0.002
    assert scores[bits].mean() - scores[~bits].mean() == pytest.approx(expected, abs=4 * error)
    assert set(np.unique(scores)) == {0.0, 1.0}


def test_a_point_is_a_member_where_its_coin_says_so():
    outputs, labels, members = random_outputs(0, 5, 40, 4)
    view = view_of(outputs, labels, members, rng=np.random.default_rng(7))
    scores = YeomBoundedLoss(bound=2.0).score(view)
    coins = np.random.default_rng(7).random((5, 40))
    for t in range(5):
        for i, y in enumerate(labels):
            loss = min(-np.log(outputs[t, i, y]), 2.0)
            assert scores[t, i] == float(coins[t, i] >= loss / 2.0)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("inf")])
def test_a_bound_is_positive_and_finite(bound):
    with pytest.raises(UserError, match=r"attacks\.yeom_bounded_loss\.bound"):
        REGISTRIES["attack"]["yeom_bounded_loss"].parse(
            {"bound": bound}, where="attacks.yeom_bounded_loss"
        )


@pytest.mark.parametrize("static", [False, True])
def test_gaussian_scores_are_those_of_a_loop(static):
    outputs, labels, members = random_outputs(1, 6, 25, 4)
    shadows = random_outputs(2, 6, 25, 4)[0] if static else outputs
    found = YeomGaussian().score(view_of(outputs, labels, members, shadows))
    loss = -np.log(outputs[:, np.arange(25), labels])
    shadow = -np.log(shadows[:, np.arange(25), labels])
    for t in range(6):
        groups = {True: [], False: []}
        for s in range(6):
            for i in range(25):
                if s != t:
                    groups[bool(members[s, i])].append(shadow[s, i])
        inside, outside = (norm(0, np.sqrt(np.mean(np.square(groups[m])))) for m in (True, False))
        expected = inside.logpdf(loss[t]) - outside.logpdf(loss[t])
        np.testing.assert_allclose(found[t], expected, rtol=1e-9, atol=1e-9)


def test_for_one_target_the_gaussians_rank_as_the_loss_does():
    planted = plant(models=12, points=200, effect=1.5, seed=3)
    gaussian = YeomGaussian().score(planted.view(access=Access.SCORE))
    malt = Malt().score(planted.view(access=Access.SCORE))
    for one, other in zip(gaussian, malt, strict=True):
        assert np.array_equal(np.argsort(one), np.argsort(other))


def test_where_members_have_the_larger_losses_the_gaussians_turn_round():
    planted = plant(models=24, points=300, effect=-2.0, seed=4)
    scores = YeomGaussian().score(planted.view(access=Access.SCORE))
    assert auc(scores, planted.members) > 0.7


def test_label_only_releases_give_finite_scores():
    outputs, labels, members = random_outputs(5, 12, 60, 3)
    one_hot = np.eye(3, dtype=np.float32)[outputs.argmax(-1)]
    perfect = np.broadcast_to(np.eye(3, dtype=np.float32)[labels], one_hot.shape)
    memorised = np.where(members[..., None], perfect, one_hot)
    for released in (one_hot, perfect, memorised):
        scores = YeomGaussian().score(view_of(released, labels, members))
        assert np.isfinite(scores.astype(np.float32)).all()
    assert cross_entropy(perfect, labels).max() < 1e-40


def test_gaussians_need_a_shadow_on_both_sides():
    outputs, labels, _ = random_outputs(6, 3, 10, 3)
    for members in (np.ones((3, 10), bool), np.zeros((3, 10), bool)):
        with pytest.raises(NotApplicable, match="two Gaussians need"):
            YeomGaussian().score(view_of(outputs, labels, members))
    with pytest.raises(NotApplicable, match="two Gaussians need"):
        YeomGaussian().score(view_of(*random_outputs(0, 1, 10, 3)))
