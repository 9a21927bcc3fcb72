"""The supervised network against numerical derivatives, and what it learns."""

import dataclasses

import numpy as np
import pytest
from scipy.special import expit

from dpbench.attacks import Access, Nasr
from dpbench.attacks.nasr import components
from dpbench.attacks.toolbox.supervised_network import Components, SupervisedNetworks
from dpbench.testing import auc, check_attack, plant


def test_contract():
    check_attack(Nasr())


def small(seed=0, models=2, points=9):
    """Networks and components in double precision, and bits."""
    rng = np.random.default_rng(seed)

    def draw(size):
        return rng.standard_normal((models, points, size))

    given = Components((draw(4), draw(3)), (draw(5), draw(3)))
    networks = SupervisedNetworks.start(given, code=3, hidden=4, rng=rng)
    random = 0.5 * rng.standard_normal(networks.flat.shape)
    return dataclasses.replace(networks, flat=random), given, rng.random((models, points)) < 0.5


def slow_log_odds(networks, given, model, point):
    """One example through one network, with the outer product formed."""
    parts = [view[model] for view in networks.views(networks.flat)]
    inputs = [part[model, point] for part in given.plain]
    left, right = (factor[model, point] for factor in given.factors)
    codes = [x @ parts[2 * i] + parts[2 * i + 1][0] for i, x in enumerate(inputs)]
    kernel = parts[4].reshape(len(left), len(right), networks.code)
    codes.append((np.outer(left, right)[..., None] * kernel).sum((0, 1)) + parts[5][0])
    hidden = np.maximum(np.maximum(np.concatenate(codes), 0) @ parts[6] + parts[7][0], 0)
    return (hidden @ parts[8] + parts[9][0])[0]


def test_the_forward_pass_is_that_of_a_loop_that_forms_the_gradient():
    networks, given, _ = small()
    found = networks.forward(given).log_odds[..., 0]
    for model in range(2):
        expected = [slow_log_odds(networks, given, model, i) for i in range(9)]
        np.testing.assert_allclose(found[model], expected, atol=1e-12)


def test_the_backward_pass_is_the_numerical_derivative():
    networks, given, bits = small()

    def loss(flat):
        moved = dataclasses.replace(networks, flat=flat).forward(given).log_odds[..., 0]
        return np.logaddexp(0, np.where(bits, -moved, moved)).sum()

    codes = networks.forward(given)
    found = np.full_like(networks.flat, np.nan)
    networks.backward(given, codes, expit(codes.log_odds) - bits[..., None], found)
    for place in np.ndindex(networks.flat.shape):
        step = np.zeros_like(networks.flat)
        step[place] = 1e-6
        numeric = (loss(networks.flat + step) - loss(networks.flat - step)) / 2e-6
        assert found[place] == pytest.approx(numeric, rel=1e-4, abs=1e-7)


def test_training_lowers_the_loss_of_every_network_and_networks_do_not_mix():
    networks, given, bits = small(points=40)
    options = {"epochs": 30, "batch": 8, "learning_rate": 0.02, "weight_decay": 0.0}

    def trained(rows):
        some = Components(*[tuple(part[rows] for part in parts) for parts in given])
        own = dataclasses.replace(networks, flat=networks.flat[rows].copy())
        own.train(some, bits[rows] * 1.0, rng=np.random.default_rng(3), **options)
        log_odds = own.forward(some).log_odds[..., 0]
        return own.flat, np.logaddexp(0, np.where(bits[rows], -log_odds, log_odds)).mean(1)

    together, loss = trained(slice(None))
    assert (loss < 0.45).all()  # knowing nothing costs log 2
    np.testing.assert_allclose(trained(slice(1, 2))[0][0], together[1], rtol=1e-9, atol=1e-12)


def test_a_half_knows_nothing_of_its_own_bits():
    planted = plant(models=6, points=80, effect=2.0, seed=0)
    scores = Nasr().score(planted.view(access=Access.WHITE_BOX))
    half = np.array_split(planted.view(access=Access.WHITE_BOX).rng.permutation(80), 2)[0]
    flipped = planted.members.copy()
    flipped[:, half] ^= True
    world = dataclasses.replace(planted, members=flipped)
    changed = Nasr().score(world.view(access=Access.WHITE_BOX))
    assert np.array_equal(changed[:, half], scores[:, half])
    others = np.setdiff1d(np.arange(80), half)
    assert not np.array_equal(changed[:, others], scores[:, others])


def test_it_comes_close_to_the_best_global_threshold():
    planted = plant(models=16, points=1000, effect=2.0, seed=1, public=10)
    found = auc(Nasr().score(planted.view(access=Access.WHITE_BOX)), planted.members)
    assert found > planted.global_auc - 0.05


def test_a_rule_that_no_score_shows_is_learned_from_the_gradient():
    # Members have h_0 and the error of their class of equal sign: only the product tells.
    rng = np.random.default_rng(0)
    bits = rng.random((4, 3000)) < 0.5
    sign = rng.choice([-1.0, 1.0], size=bits.shape)
    features = 0.3 * rng.standard_normal((*bits.shape, 3))
    features[..., 0] += np.where(bits, sign, -sign)
    logits = np.stack([np.zeros_like(sign), sign], axis=2)
    labels = np.ones(3000, np.int64)
    given = components(features.astype(np.float32), logits, labels)
    assert all(np.isfinite(part).all() for part in (*given.plain, *given.factors))
    networks = Nasr(epochs=20)._taught(
        given.at(np.arange(1500)), bits[:, :1500].astype(np.float32), 0
    )
    held_out = networks.forward(given.at(np.arange(1500, 3000))).log_odds[..., 0]
    assert auc(held_out, bits[:, 1500:]) > 0.9
