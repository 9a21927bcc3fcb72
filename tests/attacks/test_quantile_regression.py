"""Quantile regression where inputs show how hard a point is, and where they do not."""

from dataclasses import replace

import numpy as np
import pytest
from public_views import public_view, with_confidence
from scipy.stats import norm
from views import random_outputs

from dpbench.attacks.base import Access, AccessError, NotApplicable
from dpbench.attacks.malt import Malt
from dpbench.attacks.quantile_regression import QuantileRegression, gaussian
from dpbench.attacks.toolbox.confidence import logit
from dpbench.attacks.toolbox.ridge import Ridge
from dpbench.component import REGISTRIES
from dpbench.errors import UserError
from dpbench.testing import auc, check_attack, plant

ATTACKS = [QuantileRegression(), QuantileRegression(head="pinball")]
EFFECT = 1.5


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


def difficulty(inputs, labels):
    """Returns the mean and the deviation of a non-member's confidence: smooth in the input."""
    mean = 3 * np.tanh(inputs[:, 0]) + 2 * np.where(labels == 0, inputs[:, 1], -inputs[:, 1])
    return mean, np.exp(0.6 * np.tanh(inputs[:, 1]))


def readable_world(seed, *, models=12, points=600, public=1500):
    """Returns a view in which difficulty can be read off the input, and phi standardised by it."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((points + public, 2)).astype(np.float32)
    labels = rng.integers(2, size=points + public)
    mean, deviation = difficulty(inputs, labels)
    members = rng.random((models, points)) < 0.5
    standard = rng.standard_normal((models, points + public))
    standard[:, :points] += EFFECT * members
    outputs = with_confidence(mean + deviation * standard, labels, 3)
    view = public_view(
        outputs[:, :points],
        labels[:points],
        outputs[:, points:],
        labels[points:],
        members,
        inputs=inputs[:points],
        reference_inputs=inputs[points:],
        rng=np.random.default_rng(seed),
    )
    return view, standard[:, :points]


def test_the_gaussian_head_reads_difficulty_off_the_input():
    view, standard = readable_world(0)
    scores = QuantileRegression().score(view)
    # The z-score of someone who knows mean and deviation of every point.
    assert np.corrcoef(scores.ravel(), standard.ravel())[0, 1] > 0.94
    best = auc(standard, view.members)
    assert best == pytest.approx(norm.cdf(EFFECT / np.sqrt(2)), abs=0.02)
    assert auc(scores, view.members) > best - 0.015
    plain = -np.log(1 / view.target._pool_outputs()[:, np.arange(600), view.labels])
    assert auc(plain, view.members) < best - 0.15


@pytest.mark.parametrize("alpha", [0.5, 0.1])
def test_the_pinball_quantile_is_exceeded_as_often_as_asked_wherever_one_looks(alpha):
    view, _ = readable_world(1, models=24)
    scores = QuantileRegression(head="pinball", alpha=alpha, centers=64).score(view)
    above = scores > 0
    quarters = np.digitize(view.inputs[:, 1], np.quantile(view.inputs[:, 1], [0.25, 0.5, 0.75]))
    for quarter in range(4):
        here = ~view.members & (quarters == quarter)
        assert above[here].mean() == pytest.approx(alpha, abs=0.05)
    here = quarters == 0
    mean, deviation = difficulty(view.inputs[here], view.labels[here])
    quantile = logit(view.target._pool_outputs(), view.labels)[:, here] - scores[:, here]
    expected = mean + norm.isf(alpha) * deviation
    assert np.abs(quantile.mean(0) - expected).mean() < 0.25


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_where_inputs_say_nothing_it_is_a_global_threshold(attack):
    planted = plant(models=16, points=300, effect=1.5, seed=2, spread=2.0, public=2000)
    scores = attack.score(planted.view(access=Access.SCORE))
    malt = Malt().score(planted.view(access=Access.SCORE))
    found, floor = (auc(s, planted.members) for s in (scores, malt))
    assert found == pytest.approx(floor, abs=0.02)
    assert found < planted.calibrated_auc - 0.1


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_targets_do_not_disturb_each_other(attack):
    # One more target changes the shared penalty at most.
    planted = plant(models=9, points=100, effect=1.5, seed=3, public=400)
    rows = slice(0, 8)
    fewer = replace(
        planted.target,
        confidence=planted.target.confidence[rows],
        others=planted.target.others[rows],
        directions=planted.target.directions[rows],
        public=replace(
            planted.target.public,
            confidence=planted.target.public.confidence[rows],
            others=planted.target.public.others[rows],
            directions=planted.target.public.directions[rows],
        ),
    )
    part = replace(planted, target=fewer, shadows=fewer, members=planted.members[rows])
    all_of, some_of = (attack.score(p.view(access=Access.SCORE)) for p in (planted, part))
    for one, other in zip(all_of, some_of, strict=False):
        assert np.corrcoef(one, other)[0, 1] > 0.99


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_label_only_releases_give_finite_scores_that_rank_right_above_wrong(attack):
    planted = plant(models=12, points=200, effect=2.0, seed=4)
    view = planted.view(access=Access.SCORE)
    one_hot = np.eye(10, dtype=np.float32)[view.target.scores().argmax(-1)]
    public = np.eye(10, dtype=np.float32)[view.target.scores(view.reference_inputs).argmax(-1)]
    masked = public_view(
        one_hot,
        view.labels,
        public,
        view.reference_labels,
        view.members,
        inputs=view.inputs,
        reference_inputs=view.reference_inputs,
    )
    scores = attack.score(masked).astype(np.float32)
    assert np.isfinite(scores).all()
    assert auc(scores, view.members) > 0.55


def test_equal_inputs_leave_a_regression_on_the_label():
    outputs, labels, members = random_outputs(5, 4, 30, 3)
    public, public_labels, _ = random_outputs(6, 4, 60, 3)
    view = public_view(outputs, labels, public, public_labels, members)
    scores = QuantileRegression().score(view)
    phi, known = logit(outputs, labels), logit(public, public_labels)
    for label in range(3):
        offsets = phi[:, labels == label] - known[:, public_labels == label].mean(1)[:, None]
        for row, offset in zip(scores[:, labels == label], offsets, strict=True):
            assert np.array_equal(np.argsort(row), np.argsort(offset))


def test_the_gaussian_head_recovers_mean_and_deviation():
    rng = np.random.default_rng(7)
    features = rng.standard_normal((4000, 3))
    weights, bias = rng.standard_normal((3, 5)), rng.standard_normal(5)
    deviation = np.exp(0.3 * features @ rng.standard_normal((3, 5)) - 1)
    responses = features @ weights + bias + deviation * rng.standard_normal((4000, 5))
    mean, found = gaussian(Ridge.of(features), responses, features)
    assert np.abs(mean - features @ weights - bias).mean() < 0.05
    assert np.abs(np.log(found / deviation)).mean() < 0.1


def test_standardised_confidence_of_strangers_has_variance_one():
    rng = np.random.default_rng(9)
    features, weights = rng.standard_normal((1200, 60)), rng.standard_normal((60, 4))
    responses = features @ weights + 0.5 * rng.standard_normal((1200, 4))
    mean, deviation = gaussian(Ridge.of(features[:200]), responses[:200], features[200:])
    # With 60 coefficients on 200 rows the fitted residuals are far too small.
    assert ((responses[200:] - mean) / deviation).std() == pytest.approx(1.0, abs=0.1)


def test_deviations_are_not_extrapolated():
    rng = np.random.default_rng(10)
    features = rng.standard_normal((500, 1))
    responses = np.exp(2 * features) * rng.standard_normal((500, 1))
    far = np.array([[-1e4], [1e4]])
    deviation = gaussian(Ridge.of(features), responses, far)[1]
    assert deviation.min() > 1e-7
    assert deviation.max() < 100 * np.abs(responses).max()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_it_needs_public_points_and_two_queries(attack):
    planted = plant(models=4, points=20, effect=1.0, seed=8)
    view = planted.view(access=Access.SCORE, budget=attack.budget)
    attack.score(view)
    assert view.target.queries == attack.budget == 2
    with pytest.raises(AccessError, match="budget of 1"):
        attack.score(planted.view(access=Access.SCORE, budget=1))
    few = replace(
        view,
        reference_inputs=view.reference_inputs[:19],
        reference_labels=view.reference_labels[:19],
    )
    with pytest.raises(NotApplicable, match="20 public points"):
        attack.score(few)


@pytest.mark.parametrize(
    "fields", [{"head": "tree"}, {"alpha": 0.0}, {"alpha": 1.0}, {"centers": 0}]
)
def test_wrong_fields_are_refused(fields):
    with pytest.raises(UserError, match=r"attacks\.quantile_regression"):
        REGISTRIES["attack"]["quantile_regression"].parse(
            fields, where="attacks.quantile_regression"
        )
