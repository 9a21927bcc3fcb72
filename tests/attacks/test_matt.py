"""MATT: the paper's worked example, its linear case against averaged weights, and its limits."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm, rankdata, spearmanr

from dpbench.attacks import Access, AccessError, Mast, Matt, NotApplicable, Oracle
from dpbench.attacks.matt import descent, descent_from_shadows
from dpbench.attacks.toolbox.likelihood_ratio import likelihood_ratio
from dpbench.component import REGISTRIES
from dpbench.errors import UserError
from dpbench.testing import auc, plant


@dataclass(frozen=True)
class MeanEstimation:
    """M means of the member points, with the loss |theta - z|^2 / 2: Sablayrolles' toy model.

    `points` is `(n, d)`, `means` and `start` are `(M, d)`.
    """

    points: np.ndarray
    means: np.ndarray
    start: np.ndarray
    linear = False

    def weights(self):
        return self.means

    def initial_weights(self):
        return self.start

    def slopes(self, at, along):
        return (at * along).sum(1)[:, None] - along @ self.points.T

    def losses(self, at):
        return np.square(at[:, None] - self.points).sum(-1) / 2

    def oracle(self):
        return Oracle(
            access=Access.WHITE_BOX, budget=None, pool_outputs=None, query=None, white_box=self
        )


def mean_estimation(models, points, d, seed=0, start=0.0):
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((points, d))
    members = rng.random((models, points)) < 0.5
    means = members @ z / members.sum(1, keepdims=True)
    return MeanEstimation(z, means, start * rng.standard_normal((models, d))), members


def test_slopes_of_the_toy_are_derivatives_of_its_loss():
    toy, _ = mean_estimation(3, 6, 4, start=1.0)
    along = np.random.default_rng(1).standard_normal((3, 4))
    ahead, behind = toy.losses(toy.start + 1e-5 * along), toy.losses(toy.start - 1e-5 * along)
    np.testing.assert_allclose(toy.slopes(toy.start, along), (ahead - behind) / 2e-5, rtol=1e-6)


@pytest.mark.parametrize("start", [0.0, 0.5])
def test_mean_estimation_is_tracing_and_ranks_as_mast_does(start):
    toy, _ = mean_estimation(12, 200, 30, start=start)
    matt = descent(toy.oracle())
    tracing = np.einsum("mnd,md->mn", toy.points - toy.start[:, None], toy.means - toy.start)
    np.testing.assert_allclose(matt, tracing, rtol=1e-9, atol=1e-9)
    mast = toy.losses(toy.start) - toy.losses(toy.means)  # tau(z) = loss(theta_0, z)
    assert np.array_equal(rankdata(matt, axis=1), rankdata(mast, axis=1))
    # What the expansion drops is the same for every point of a target.
    gap = np.square(toy.means - toy.start).sum(1, keepdims=True) / 2
    np.testing.assert_allclose(matt - mast, np.broadcast_to(gap, matt.shape), atol=1e-9)


@pytest.mark.parametrize("d", [10, 100, 400])
def test_mean_estimation_reaches_the_published_power(d):
    toy, members = mean_estimation(40, 200, d)
    scores = descent(toy.oracle())
    per_model = members.sum(1).mean()
    # Members score d / n more, in deviations of sqrt(d / n); the point's own share adds a little.
    assert auc(scores, members) == pytest.approx(norm.cdf(np.sqrt(d / per_model / 2)), abs=0.025)
    right = (scores > d / per_model / 2) == members
    assert right.mean() == pytest.approx(norm.cdf(np.sqrt(d / per_model) / 2), abs=0.025)


@pytest.mark.parametrize(("d", "simulated"), [(10, 0.595), (100, 0.709), (1000, 0.949)])
def test_matt_and_mast_reach_the_accuracy_of_theory_and_the_best_threshold_flatters_both(
    d, simulated
):
    n, repetitions, right, oracle = 100, 40, [], []
    bits = np.arange(2 * n) < n
    for seed in range(repetitions):
        z = np.random.default_rng(seed).standard_normal((2 * n, d))
        toy = MeanEstimation(z, z[:n].mean(0)[None], np.zeros((1, d)))
        matt = descent(toy.oracle())[0]
        mast = (toy.losses(toy.start) - toy.losses(toy.means))[0]
        assert np.array_equal(np.argsort(matt), np.argsort(mast))
        right.append(((matt > d / n / 2) == bits).mean())
        found = bits[np.argsort(-matt)].cumsum() - (~bits)[np.argsort(-matt)].cumsum()
        oracle.append(0.5 + found.max() / (2 * n))
    # Known mean, known threshold: Phi(sqrt(d / n) / 2), up to terms in 1 / n and the simulation.
    noise = np.std(right, ddof=1) / np.sqrt(repetitions)
    assert np.mean(right) == pytest.approx(norm.cdf(np.sqrt(d / n) / 2), abs=4 * noise + 0.5 / n)
    # The threshold that is best for these very scores adds most where there is least to find.
    assert np.mean(oracle) == pytest.approx(simulated, abs=4 * noise)
    assert np.mean(oracle) - np.mean(right) > 2 * noise


def test_the_initial_score_is_the_likelihood_ratio_of_the_descent():
    toy, members = mean_estimation(16, 100, 60, start=0.3)
    planted = plant(models=16, points=100, effect=0.0, seed=0)
    view = replace(
        planted.view(access=Access.WHITE_BOX),
        target=toy.oracle(),
        shadows=toy.oracle(),
        members=members,
    )
    scores = Matt().score(view)
    statistic = descent(toy.oracle())
    expected = likelihood_ratio(statistic, statistic, members, variance="pooled")
    np.testing.assert_allclose(scores, expected, rtol=1e-9)
    assert view.target.queries == Matt().budget == 3
    assert auc(scores, members) > 0.55
    shared = replace(view, target=view.shadows)
    np.testing.assert_allclose(Matt().score(shared), expected, rtol=1e-9)


def linear_models(models, points, d, classes, seed=0):
    rng = np.random.default_rng(seed)
    inputs = np.concatenate([rng.standard_normal((points, d)), np.ones((points, 1))], 1)
    weights = rng.standard_normal((models, d + 1, classes))
    members = rng.random((models, points)) < 0.5
    return inputs, weights, rng.integers(classes, size=points), members


@pytest.mark.parametrize("static", [False, True])
def test_mean_logits_are_the_logits_of_mean_weights(static):
    inputs, weights, labels, members = linear_models(7, 12, 4, 3)
    theirs = linear_models(7, 12, 4, 3, seed=5)[1] if static else weights
    found = descent_from_shadows(inputs @ weights, inputs @ theirs, labels, members)
    for t in range(7):
        for i in range(12):
            others = [m for m in range(7) if m != t and not members[m, i]]
            start = np.mean([theirs[m] for m in others], axis=0)
            error = softmax(inputs[i] @ start) - np.eye(3)[labels[i]]
            gradient = np.outer(inputs[i], error)
            expected = -np.sum((weights[t] - start) * gradient)
            assert found[t, i] == pytest.approx(expected, rel=1e-9)


def test_a_constant_added_to_a_models_logits_changes_nothing():
    inputs, weights, labels, members = linear_models(7, 12, 4, 3)
    logits = inputs @ weights
    shifted = logits + np.random.default_rng(2).standard_normal((7, 12, 1))
    np.testing.assert_allclose(
        descent_from_shadows(shifted, shifted, labels, members),
        descent_from_shadows(logits, logits, labels, members),
        rtol=1e-9,
    )


def test_a_point_in_every_shadow_takes_the_mean_of_the_others():
    inputs, weights, labels, members = linear_models(6, 10, 4, 3)
    logits, members = inputs @ weights, members.copy()
    members[:, 3] = True
    found = descent_from_shadows(logits, logits, labels, members)
    np.testing.assert_allclose(found[:, 3], np.delete(found, 3, axis=1).mean(1), rtol=1e-9)
    with pytest.raises(NotApplicable, match="without the point"):
        descent_from_shadows(logits, logits, labels, members | True)


def test_the_shadows_score_orders_planted_points_much_as_mast_does():
    planted = plant(models=32, points=300, effect=1.0, seed=3)
    matt = Matt(origin="shadows").score(planted.view(access=Access.WHITE_BOX, budget=1))
    mast = Mast().score(planted.view(access=Access.SCORE))
    assert spearmanr(matt.ravel(), mast.ravel()).statistic > 0.8
    assert auc(matt, planted.members) > 0.65


def test_what_it_cannot_do_is_refused_with_a_reason():
    toy, members = mean_estimation(8, 10, 4)
    planted = plant(models=8, points=10, effect=1.0, seed=4)
    view = planted.view(access=Access.WHITE_BOX)
    deep = replace(view, target=toy.oracle(), shadows=toy.oracle(), members=members)
    with pytest.raises(NotApplicable, match="softmax regression"):
        Matt(origin="shadows").score(deep)
    for origin in ("initial", "shadows"):
        with pytest.raises(AccessError, match="white_box access"):
            Matt(origin=origin).score(planted.view(access=Access.SCORE))
    few = plant(models=2, points=10, effect=1.0, seed=4)
    with pytest.raises(NotApplicable, match="two shadow models"):
        Matt().score(few.view(access=Access.WHITE_BOX))


@pytest.mark.parametrize("fields", [{"origin": "mean"}, {"reference": "x"}])
def test_wrong_fields_are_refused(fields):
    with pytest.raises(UserError, match=r"attacks\.matt"):
        REGISTRIES["attack"]["matt"].parse(fields, where="attacks.matt")
