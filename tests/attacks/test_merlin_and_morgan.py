"""Merlin and Morgan: what they ask, closed forms on known losses, and the range against a loop."""

import numpy as np
import pytest
from scipy.stats import chi2, ncx2
from views import random_outputs, view_of

from dpbench.attacks.base import Access, AccessError, NotApplicable, Oracle
from dpbench.attacks.malt import Malt
from dpbench.attacks.merlin import Merlin
from dpbench.attacks.morgan import QUANTILES, Morgan
from dpbench.testing import auc, check_attack


@pytest.mark.parametrize("attack", [Merlin(), Merlin(copies=5, scale=0.02), Morgan()])
def test_contract(attack):
    check_attack(attack)


class Peaked:
    """Two-class models: class 1's log-odds are a quadratic form around each point's centre."""

    def __init__(self, height, bend, inputs, centres):
        self.height, self.bend, self.inputs, self.centres = height, bend, inputs, centres
        self.asked = []

    def answer(self, inputs):
        self.asked.append(inputs)
        odds = self.height - self.bend * np.square(inputs - self.centres).sum(-1)
        return np.stack([1 / (1 + np.exp(odds)), 1 / (1 + np.exp(-odds))], axis=-1)

    def view(self, attack, *, unit=1.0):
        models, points = self.height.shape
        oracle = Oracle(
            access=Access.SCORE,
            budget=attack.budget,
            pool_outputs=lambda: self.answer(self.inputs),
            query=self.answer,
        )
        ones = np.ones(self.inputs.shape[1], np.float32)
        return view_of(
            np.zeros((models, points, 2)),
            np.ones(points, int),
            np.random.default_rng(0).random((models, points)) < 0.5,
            inputs=self.inputs,
            target=oracle,
            shadows=oracle,
            low=0 * ones,
            high=ones,
            unit=unit * ones,
            binary=np.zeros(len(ones), bool),
        )


def peaked(models=3, points=20, features=4, offset=0.0):
    rng = np.random.default_rng(1)
    inputs = rng.random((points, features)).astype(np.float32)
    centres = inputs + offset * np.eye(features, dtype=np.float32)[0]
    height = rng.standard_normal((models, points))
    bend = np.where(rng.random((models, points)) < 0.5, 1.0, -1.0)
    return Peaked(height, bend, inputs, centres)


def test_it_counts_the_copies_with_a_larger_loss():
    attack = Merlin(copies=6, scale=0.3)
    models = peaked(offset=0.2)
    scores = attack.score(models.view(attack))
    clean, *copies = models.asked
    assert len(copies) == attack.budget - 1 == 6
    before = models.answer(clean)[..., 1]
    larger = np.mean([models.answer(copy)[..., 1] < before for copy in copies], axis=0)
    np.testing.assert_allclose(scores, larger, atol=1e-12)


def test_at_a_minimum_of_the_loss_all_noise_hurts_and_at_a_maximum_none():
    attack = Merlin(copies=20)
    models = peaked()
    scores = attack.score(models.view(attack))
    assert np.array_equal(scores, (models.bend > 0) * 1.0)


def test_near_a_minimum_it_is_the_chance_to_leave_the_sphere():
    # |x + s noise - centre|^2 > |x - centre|^2: a non-central chi-square.
    attack = Merlin(copies=3000, scale=0.1)
    models = peaked(points=5, offset=0.3)
    scores = attack.score(models.view(attack, unit=2.0))
    outside = ncx2.sf((0.3 / 0.2) ** 2, 4, (0.3 / 0.2) ** 2)
    expected = np.where(models.bend > 0, outside, 1 - outside)
    np.testing.assert_allclose(scores, expected, atol=5 * 0.5 / np.sqrt(3000))


def test_noise_is_on_every_feature_in_raw_units_and_not_clipped():
    attack = Merlin(copies=200, scale=0.1)
    models = peaked()
    attack.score(models.view(attack, unit=3.0))
    noise = np.stack(models.asked[1:]) - models.inputs
    assert noise.std((0, 1)) == pytest.approx(0.3, rel=0.05)
    squares = np.square(noise / 0.3).sum(-1).ravel()
    assert (squares > chi2.isf(0.1, 4)).mean() == pytest.approx(0.1, abs=0.02)
    assert np.stack(models.asked[1:]).max() > 1.0
    assert np.stack(models.asked[1:]).dtype == np.float32


def test_a_loss_that_does_not_move_is_not_larger():
    outputs, labels, members = random_outputs(0, 4, 10, 3)
    assert (Merlin().score(view_of(outputs, labels, members)) == 0).all()


def test_the_budget_binds():
    attack = Merlin(copies=4)
    view = peaked().view(attack)
    with pytest.raises(AccessError, match="budget of 5"):
        Merlin(copies=5).score(view)


def slow_range(losses, members):
    """Tries every pair of quantiles."""
    edges = np.quantile(losses, QUANTILES)
    edges[0], edges[-1] = -np.inf, np.inf
    best = (-np.inf, None)
    for low in range(21):
        for high in range(low, 21):
            within = (losses >= edges[low]) & (losses <= edges[high])
            gain = within[members].mean() - within[~members].mean()
            if gain > best[0] + 1e-12:
                best = (gain, (edges[low], edges[high]))
    return best[1]


@pytest.mark.parametrize("static", [False, True])
def test_the_range_is_that_of_a_loop_over_the_other_half(static):
    outputs, labels, members = random_outputs(2, 7, 50, 4)
    outputs[members, labels[np.nonzero(members)[1]]] += 1
    shadows = random_outputs(99, 7, 50, 4)[0] if static else outputs
    scores = Morgan(copies=1).score(view_of(outputs, labels, members, shadows))
    own, others = (-Malt().score(view_of(o, labels, members)) for o in (outputs, shadows))
    for parity in (0, 1):
        half = np.arange(7) % 2 != parity
        low, high = slow_range(others[half], members[half])
        for t in range(parity, 7, 2):
            within = (own[t] >= low) & (own[t] <= high)
            # The oracle never answers anything else: Merlin's ratio is 0.
            assert np.array_equal(scores[t], np.where(within, 0.0, -2.0))


def test_members_in_the_middle_of_the_losses_are_found():
    rng = np.random.default_rng(3)
    members = rng.random((10, 400)) < 0.5
    phi = np.where(members, 0.3, 2.0) * rng.standard_normal((10, 400))
    chance = 1 / (1 + np.exp(-phi))
    outputs = np.stack([chance, 1 - chance], axis=-1)
    view = view_of(outputs, np.zeros(400, int), members)
    assert auc(Malt().score(view), members) < 0.6
    assert auc(Morgan(copies=1).score(view), members) > 0.75


def test_one_model_has_no_shadow():
    with pytest.raises(NotApplicable, match="no shadow"):
        Morgan().score(view_of(*random_outputs(0, 1, 5, 3)))
