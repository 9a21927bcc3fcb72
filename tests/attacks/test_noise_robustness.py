"""Noise robustness: what it sends, what it counts, and a closed form on linear models."""

import numpy as np
import pytest
from scipy.stats import norm
from views import view_of

from dpbench.attacks import Access, AccessError, NoiseRobustness, Oracle
from dpbench.testing import auc, plant


class Linear:
    """Linear two-class models, which keep what they were asked."""

    def __init__(self, weights, inputs):
        self.weights, self.inputs, self.asked = weights, inputs, []

    def answer(self, inputs):
        self.asked.append(inputs)
        margin = (inputs @ self.weights.T).T
        return np.stack([-margin, margin], axis=-1)

    def oracle(self, budget):
        return Oracle(
            access=Access.LABEL,
            budget=budget,
            pool_outputs=lambda: self.answer(self.inputs),
            query=self.answer,
        )


def setting(attack, *, models=3, points=40, features=6, bounds=(-1e6, 1e6), unit=1.0, binary=()):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((points, features)).astype(np.float32)
    inputs[:, list(binary)] = np.where(inputs[:, list(binary)] > 0, bounds[1], bounds[0])
    linear = Linear(rng.standard_normal((models, features)), inputs)
    labels = rng.integers(2, size=points)
    ones = np.ones(features, np.float32)
    mask = np.zeros(features, bool)
    mask[list(binary)] = True
    view = view_of(
        np.zeros((models, points, 2)),
        labels,
        rng.random((models, points)) < 0.5,
        inputs=inputs,
        target=linear.oracle(attack.budget),
        low=bounds[0] * ones,
        high=bounds[1] * ones,
        unit=unit * ones,
        binary=mask,
    )
    return linear, view


def test_it_counts_the_copies_that_keep_the_true_label():
    attack = NoiseRobustness(copies=5, scale=0.8)
    linear, view = setting(attack)
    scores = attack.score(view)
    clean, *copies = linear.asked
    assert len(copies) == 5
    for t, weights in enumerate(linear.weights):
        for i, label in enumerate(view.labels):
            right = [int(c[i] @ weights > 0) == label for c in (clean, *copies)]
            assert scores[t, i] == (sum(right[1:]) / 5 if right[0] else 0.0)
    assert view.target.queries == attack.budget == 6


def test_linear_models_keep_a_label_as_often_as_their_distance_says():
    attack = NoiseRobustness(copies=3000, scale=0.5)
    linear, view = setting(attack, points=10, unit=2.0)
    scores = attack.score(view)
    side = 2 * view.labels - 1
    distance = (view.inputs @ linear.weights.T).T * side
    distance /= np.linalg.norm(linear.weights, axis=1)[:, None]
    expected = np.where(distance > 0, norm.cdf(distance / (0.5 * 2.0)), 0.0)
    np.testing.assert_allclose(scores, expected, atol=5 * 0.5 / np.sqrt(3000))


def test_noise_has_its_scale_in_raw_units_and_stays_in_range():
    attack = NoiseRobustness(copies=200, scale=0.1)
    linear, view = setting(attack, unit=3.0)
    attack.score(view)
    noise = np.stack(linear.asked[1:]) - view.inputs
    assert noise.std() == pytest.approx(0.3, rel=0.02)
    assert noise.mean() == pytest.approx(0.0, abs=0.01)
    linear, view = setting(attack, bounds=(-0.5, 0.75), unit=3.0)
    attack.score(view)
    copies = np.stack(linear.asked[1:])
    assert copies.dtype == np.float32
    assert copies.min() == -0.5
    assert copies.max() == 0.75


@pytest.mark.parametrize(("probability", "expected"), [(None, 0.5), (0.2, 0.2)])
def test_binary_features_flip_and_nothing_else(probability, expected):
    attack = NoiseRobustness(copies=300, flip_probability=probability)
    linear, view = setting(attack, bounds=(-0.42, 2.8), binary=(0, 2, 4, 5))
    attack.score(view)
    flipped = np.stack(linear.asked[1:])[..., view.binary] != view.inputs[:, view.binary]
    values = np.unique(np.stack(linear.asked[1:])[..., view.binary])
    np.testing.assert_array_equal(values, np.float32([-0.42, 2.8]))
    # Four binary features: 3 expected flips are more than half of them.
    assert flipped.mean() == pytest.approx(expected, abs=0.02)


def test_by_default_three_binary_features_flip():
    attack = NoiseRobustness(copies=50)
    linear, view = setting(attack, features=60, bounds=(0.0, 1.0), binary=range(60))
    attack.score(view)
    flips = (np.stack(linear.asked[1:]) != view.inputs).sum(-1)
    assert flips.mean() == pytest.approx(3.0, abs=0.15)


def test_labels_are_all_it_sees_and_its_budget_binds():
    planted = plant(models=24, points=300, effect=2.0, seed=0)
    attack = NoiseRobustness()
    scores = attack.score(planted.view(access=Access.LABEL, budget=17))
    assert auc(scores, planted.members) > 0.63
    with pytest.raises(AccessError, match="budget of 16"):
        attack.score(planted.view(access=Access.LABEL, budget=16))


def test_more_copies_tell_more_than_correctness_alone():
    from dpbench.attacks import Gap

    planted = plant(models=24, points=300, effect=2.0, seed=1)
    view = planted.view(access=Access.LABEL)
    gap = auc(Gap().score(view), planted.members)
    noise = auc(NoiseRobustness(copies=32).score(view), planted.members)
    assert noise > gap + 0.03
