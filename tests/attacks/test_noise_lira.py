"""Noise LiRA against a loop with SciPy's normal, and against the plain attack on its own copies."""

import dataclasses
from functools import cache

import numpy as np
import pytest
from linear_models import Linear, draw
from scipy.stats import norm
from slow_shadows import for_each, sides
from views import random_outputs, view_of

from dpbench.attacks import Access, AccessError, NoiseLira, NoiseRobustness, NotApplicable
from dpbench.component import REGISTRIES
from dpbench.errors import UserError
from dpbench.testing import auc, check_attack, plant, standard_error

VARIANCES = ("pooled", "per_example")


class Keeping(Linear):
    """Linear models that keep the copies they were asked about, too."""

    def __init__(self, weights, inputs):
        super().__init__(weights, inputs)
        self.copies = []

    def pool(self, inputs=None):
        self.copies.append(self.inputs if inputs is None else inputs)
        return super().pool(inputs)


def setting(attack, *, models=9, static=False):
    linear, labels = draw(models=2 * models, points=30, features=12)
    targets, others = (
        Keeping(linear.weights[some], linear.inputs)
        for some in (slice(models), slice(models, None))
    )
    members = np.random.default_rng(models).random((models, 30)) < 0.5
    view = view_of(np.zeros((models, 30, 5)), labels, members, inputs=linear.inputs)
    ones, oracle = np.ones(12, np.float32), targets.oracle(attack.budget)
    shadows = others.oracle(attack.budget) if static else oracle
    view = dataclasses.replace(
        view,
        target=oracle,
        shadows=shadows,
        low=-9 * ones,
        high=9 * ones,
        unit=ones,
        binary=ones < 0,
    )
    return view, targets, others if static else targets


def kept(models, labels, asked):
    """Returns how many `(M, n)` of some inputs got the true label, model by model."""
    counts = np.zeros((len(models.weights), len(labels)), int)
    for m, weights in enumerate(models.weights):
        for i, label in enumerate(labels):
            counts[m, i] = sum(int(np.argmax(weights @ x[i]) == label) for x in asked)
    return counts


def slow(observed, shadows, members, variance):
    """The Gaussian log-likelihood ratio, target by target and point by point."""
    points = range(members.shape[1])

    @cache
    def spread(target, side):
        groups = [sides(shadows, members, target, i)[side] for i in points]
        groups = [group for group in groups if len(group) > 1]
        squares = sum(np.var(group, ddof=1) * (len(group) - 1) for group in groups)
        return squares, sum(len(group) - 1 for group in groups)

    def score(target, point):
        logs, pooled = [], [spread(target, side) for side in (0, 1)]
        floor = 0.01 * np.sqrt(sum(s for s, _ in pooled) / sum(k for _, k in pooled))
        for group, (squares, degrees) in zip(
            sides(shadows, members, target, point), pooled, strict=True
        ):
            alone = variance == "per_example" and len(group) > 1
            deviation = np.std(group, ddof=1) if alone else np.sqrt(squares / degrees)
            logs.append(norm.logpdf(observed[target, point], np.mean(group), max(deviation, floor)))
        return logs[0] - logs[1]

    return for_each(members, score)


def slow_correctness(observed, shadows, members):
    """The log-likelihood ratio of one Bernoulli for each side, target by target."""
    half = (len(members) - 1) / 2

    def score(target, point):
        inside, outside = (
            (half * np.mean(group) + 0.5) / (half + 1)
            for group in sides(shadows, members, target, point)
        )
        right = observed[target, point]
        return np.log(inside / outside) if right else np.log((1 - inside) / (1 - outside))

    return for_each(members, score)


@pytest.mark.parametrize("attack", [NoiseLira(), NoiseLira(copies=3, variance="per_example")])
def test_contract(attack):
    check_attack(attack)


@pytest.mark.parametrize("variance", VARIANCES)
@pytest.mark.parametrize("static", [False, True])
def test_scores_are_those_of_a_loop(variance, static):
    attack = NoiseLira(copies=7, scale=0.8, variance=variance)
    view, targets, shadows = setting(attack, static=static)
    found = attack.score(view)
    assert len(targets.copies) == len(shadows.copies) == 8
    assert all(map(np.array_equal, targets.copies, shadows.copies))
    counts = [kept(models, view.labels, models.copies[1:]) for models in (targets, shadows)]
    clean = [kept(models, view.labels, models.copies[:1]) for models in (targets, shadows)]
    assert len(np.unique(counts[0])) > 4
    log_odds = [np.log((count + 0.5) / (7 - count + 0.5)) for count in counts]
    expected = slow(*log_odds, view.members, variance)
    expected += slow_correctness(*clean, view.members)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


def test_the_copies_are_those_of_noise_robustness():
    copies = []
    for attack in (NoiseLira(copies=5), NoiseRobustness(copies=5)):
        view, targets, _ = setting(attack)
        attack.score(view)
        copies.append(targets.copies)
    assert all(map(np.array_equal, *copies))


def test_where_all_shadows_agree_there_is_no_evidence():
    outputs, labels, members = random_outputs(0, 12, 30, 3)
    outputs[:, :10] = outputs[0, :10]
    for variance in VARIANCES:
        view = view_of(outputs, labels, members, access=Access.LABEL)
        scores = NoiseLira(variance=variance).score(view)[:, :10]
        # Pooled spreads of IN and OUT differ a little, and alike for all points.
        none = 0.0 if variance == "per_example" else scores[:, :1]
        np.testing.assert_allclose(scores, np.broadcast_to(none, scores.shape), atol=1e-9)


def test_calibration_finds_what_one_threshold_does_not():
    planted = plant(models=48, points=400, effect=2.0, seed=0, spread=2.0)
    ours, plain = (
        auc(attack.score(planted.view(access=Access.LABEL, budget=17)), planted.members)
        for attack in (NoiseLira(), NoiseRobustness())
    )
    assert ours > plain + 0.03


@pytest.mark.parametrize("shadows_effect", [None, 2.0])
def test_nothing_is_found_where_nothing_leaks(shadows_effect):
    planted = plant(models=32, points=500, effect=0.0, seed=4, shadows_effect=shadows_effect)
    scores = NoiseLira().score(planted.view(access=Access.LABEL))
    found = auc(scores, planted.members)
    assert abs(found - 0.5) < 4 * standard_error(planted.members)


def test_what_it_cannot_do_is_refused():
    with pytest.raises(NotApplicable, match="two shadow models"):
        NoiseLira().score(view_of(*random_outputs(0, 2, 10, 3), access=Access.LABEL))
    planted = plant(models=8, points=10, effect=1.0, seed=0)
    with pytest.raises(AccessError, match="budget of 16"):
        NoiseLira().score(planted.view(access=Access.LABEL, budget=16))


@pytest.mark.parametrize("fields", [{"copies": 0}, {"scale": 0}, {"variance": "fixed"}, {"k": 1}])
def test_wrong_fields_are_refused(fields):
    with pytest.raises(UserError, match=r"attacks\.noise_lira"):
        REGISTRIES["attack"]["noise_lira"].parse(fields, where="attacks.noise_lira")
