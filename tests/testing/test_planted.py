"""Planted signals have the leak that they announce."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax
from scipy.stats import norm, spearmanr
from sklearn.metrics import roc_auc_score

from dpbench.attacks import Access, AccessError, GradientNorm, Malt, Matt
from dpbench.testing import auc, plant, planted_view, standard_error
from dpbench.testing.planted_release import REACH


@pytest.mark.parametrize("n_classes", [2, 10])
def test_outputs_are_probabilities_with_the_planted_confidence(n_classes):
    planted = plant(models=6, points=40, effect=1.0, seed=0, n_classes=n_classes)
    outputs = planted.target.outputs().astype(float)
    own = outputs[:, np.arange(40), planted.target.labels]
    np.testing.assert_allclose(outputs.sum(-1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(own, expit(planted.target.confidence), rtol=1e-6)
    assert (outputs >= 0).all()


@pytest.mark.parametrize("effect", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("spread", [0.0, 1.0, 3.0])
def test_areas_are_the_closed_forms(effect, spread):
    planted = plant(models=64, points=4000, effect=effect, seed=1, spread=spread)
    bits, confidence = planted.members, planted.target.confidence
    # The difficulties are known here: what is left is a shift of unit normals.
    difficulty = (confidence - effect * bits).mean(0)
    calibrated = auc(confidence - difficulty, bits)
    assert planted.calibrated_auc == pytest.approx(norm.cdf(effect / np.sqrt(2)))
    assert calibrated == pytest.approx(planted.calibrated_auc, abs=0.006)
    scores = Malt().score(planted.view(access=Access.SCORE))
    assert planted.global_auc <= planted.calibrated_auc
    assert auc(scores, bits) == pytest.approx(planted.global_auc, abs=0.006)


def test_bits_are_fair_coins_and_their_counts_are_not_balanced():
    bits = plant(models=64, points=2000, effect=0.0, seed=2).members
    assert bits.mean() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(bits.size))
    assert bits.sum(0).std() == pytest.approx(4.0, rel=0.1)


def test_static_shadows_share_bits_and_difficulty_only():
    planted = plant(models=32, points=500, effect=1.0, seed=3, shadows_effect=3.0, spread=2.0)
    target, shadows = planted.target.confidence, planted.shadows.confidence
    assert not np.allclose(target, shadows)
    assert spearmanr(target.mean(0), shadows.mean(0)).statistic > 0.9
    for confidence, effect in ((target, 1.0), (shadows, 3.0)):
        bits = planted.members
        found = confidence[bits].mean() - confidence[~bits].mean()
        assert found == pytest.approx(effect, abs=0.15)


def test_a_seed_gives_the_same_view_and_another_seed_another():
    def draw(seed):
        view, members = planted_view(models=4, points=10, effect=1.0, seed=seed)
        return view.target.scores(), members, view.rng.random()

    for one, same, other in zip(draw(0), draw(0), draw(1), strict=True):
        assert np.array_equal(one, same)
        assert not np.array_equal(one, other)


def test_confidence_peaks_at_its_point_on_a_slope():
    planted = plant(models=5, points=30, effect=1.0, seed=4)
    view = planted.view(access=Access.SCORE)
    assert np.array_equal(view.target.scores(view.inputs), view.target.scores())
    step = np.random.default_rng(0).standard_normal(view.inputs.shape)

    def phi(size):
        own = view.target.scores(view.inputs + size * step).astype(float)
        own = own[:, np.arange(30), view.labels]
        return np.log(own) - np.log1p(-own)

    for size in (0.01, 0.05):
        slope = (phi(size) - phi(-size)) / 2
        fallen = (phi(size) + phi(-size)) / 2 / phi(0)
        share = -np.expm1(-np.square(size * step).sum(1) / REACH) / 4
        np.testing.assert_allclose(slope, size * (phi(0.01) - phi(-0.01)) / 0.02, atol=2e-3)
        np.testing.assert_allclose(fallen, np.broadcast_to(1 - share, fallen.shape), atol=2e-3)


def test_the_view_enforces_access_and_budget_and_shape():
    view, _ = planted_view(models=4, points=10, effect=1.0, seed=5, access=Access.LABEL)
    assert view.target.predictions().shape == (4, 10)
    with pytest.raises(AccessError):
        view.target.scores()
    with pytest.raises(ValueError, match="expected"):
        view.target.predictions(view.inputs[:3])
    assert not view.is_image
    image = plant(models=4, points=10, effect=1.0, seed=5, shape=(1, 4, 4))
    assert image.view(access=Access.SCORE).is_image
    assert not image.binary.any()


def test_the_weights_are_those_of_the_released_scores():
    planted = plant(models=5, points=20, effect=1.0, seed=6, n_classes=4)
    shown = planted.view(access=Access.WHITE_BOX).target
    probabilities = softmax(shown.logits(), axis=-1)
    np.testing.assert_allclose(probabilities, planted.target.outputs(), rtol=1e-5, atol=1e-7)
    assert np.array_equal(shown.weights().reshape(5, 20, 4), shown.logits())
    assert not shown.initial_weights().any()
    assert shown.linear


def test_features_and_head_make_the_logits_of_challenge_and_public_points():
    planted = plant(models=3, points=7, effect=1.0, seed=6, n_classes=4, public=5)
    shown = planted.view(access=Access.WHITE_BOX).target
    weight, bias = np.split(shown.head(), [-1], axis=2)
    for of, release in (("challenge", planted.target), ("reference", planted.target.public)):
        made = shown.features(of) @ weight.swapaxes(1, 2) + bias.swapaxes(1, 2)
        np.testing.assert_allclose(made, release.logits(), rtol=1e-6)


def test_influences_are_derivatives_of_the_planted_logit():
    planted = plant(models=3, points=7, effect=1.0, seed=6, n_classes=4)
    release, rows = planted.target, np.arange(7)
    along = np.random.default_rng(0).standard_normal(release.inputs.shape)

    def centred(place, size):
        moved = release.query(place * release.inputs.astype(np.float64) + size * along)
        own = moved[:, rows, release.labels].astype(float)
        # All other logits stand still: the centred one moves by the share that is not its own.
        return 3 / 4 * (np.log(own) - np.log1p(-own))

    def numeric(place):
        return (centred(place, 1e-4) - centred(place, -1e-4)) / 2e-4

    at_it = np.concatenate(list(release.influences(at_once=3, steps=1)), axis=1)
    np.testing.assert_allclose((at_it * along).sum(2), numeric(1.0), atol=0.05)
    path = np.concatenate(list(release.influences(at_once=3, steps=2)), axis=1)
    steep = 3 / 4 * 20 * (planted.target.directions @ along.T)
    assert path.shape == at_it.shape == (3, 7, 16)
    np.testing.assert_allclose((path * along).sum(2), steep, atol=1e-6)


def test_norms_and_slopes_are_derivatives_of_the_planted_loss():
    planted = plant(models=5, points=20, effect=1.0, seed=7, n_classes=4)
    view = planted.view(access=Access.WHITE_BOX)
    shown, rows = view.target, np.arange(20)
    along = np.random.default_rng(0).standard_normal((5, 80))

    def losses(weights):
        return -log_softmax(weights.reshape(5, 20, 4), axis=-1)[:, rows, view.labels]

    weights, step = shown.weights(), 1e-5
    numeric = (losses(weights + step * along) - losses(weights - step * along)) / (2 * step)
    np.testing.assert_allclose(shown.slopes(weights, along), numeric, rtol=1e-5, atol=1e-8)
    # Every point has weights of its own: its steepest direction is its own gradient.
    gradient = softmax(shown.logits(), axis=-1) - np.eye(4)[view.labels]
    steepest = gradient / np.linalg.norm(gradient, axis=-1, keepdims=True)
    found = shown.slopes(weights, steepest.reshape(5, -1))
    np.testing.assert_allclose(shown.gradient_norms("weights"), found, rtol=1e-6)


def test_input_norms_are_derivatives_along_the_planted_direction():
    planted = plant(models=5, points=20, effect=1.0, seed=8)
    view, release, rows = planted.view(access=Access.WHITE_BOX), planted.target, np.arange(20)
    for model in range(5):

        def loss(size, direction=release.directions[model], model=model):
            moved = release.query((release.inputs + size * direction).astype(np.float64))
            return -np.log(moved[model, rows, view.labels].astype(float))

        numeric = (loss(-1e-3) - loss(1e-3)) / 2e-3
        found = view.target.gradient_norms("inputs")[model]
        np.testing.assert_allclose(found, numeric, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("attack", [GradientNorm(), Matt()], ids=lambda attack: attack.label())
def test_white_box_attacks_approach_the_announced_area_and_do_not_beat_it(attack):
    planted = plant(models=64, points=600, effect=1.5, seed=9)
    found = auc(attack.score(planted.view(access=Access.WHITE_BOX)), planted.members)
    noise = standard_error(planted.members)
    assert planted.calibrated_auc - 0.04 < found < planted.calibrated_auc + 4 * noise


def test_auc_counts_ties_half_and_agrees_with_scikit_learn():
    rng = np.random.default_rng(0)
    bits = rng.random((5, 40)) < 0.5
    for scores in (rng.standard_normal((5, 40)), rng.integers(3, size=(5, 40)), np.zeros((5, 40))):
        expected = roc_auc_score(bits.ravel(), scores.ravel())
        assert auc(scores, bits) == pytest.approx(expected, abs=1e-12)


def test_the_standard_error_is_that_of_ignorant_scores():
    rng = np.random.default_rng(1)
    bits = rng.random((4, 50)) < 0.5
    found = np.std([auc(rng.random((4, 50)), bits) for _ in range(2000)])
    assert found == pytest.approx(standard_error(bits), rel=0.08)
