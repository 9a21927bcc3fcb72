"""Cross-fitted classifiers: the fit against two optimisers, the folds against a loop."""

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit
from views import random_outputs

from dpbench.attacks.base import NotApplicable
from dpbench.attacks.toolbox.shadow_classifier import fit_logistic, membership_log_odds


def objective(weights, design, bits):
    chances = expit(design @ weights)
    likelihood = np.where(bits, chances, 1 - chances)
    return -np.log(likelihood + 1e-300).sum() + weights @ weights / 2


def by_scipy(features, bits):
    design = np.column_stack([np.ones(len(features)), features])
    start = np.zeros(design.shape[1])
    return minimize(objective, start, args=(design, bits), method="BFGS", tol=1e-9).x


def draw(seed, rows=120, columns=3, slope=2.0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, columns))
    return features, rng.random(rows) < expit(slope * features[:, 0] - 1)


@pytest.mark.parametrize("slope", [0.0, 2.0, 50.0])
def test_the_fit_is_the_minimum_that_scipy_finds(slope):
    features, bits = draw(0, slope=slope)
    np.testing.assert_allclose(fit_logistic(features, bits), by_scipy(features, bits), atol=1e-4)


@pytest.mark.oracle
def test_the_fit_is_scikit_learns():
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, bits = draw(1, rows=400)
    design = np.column_stack([np.ones(400), features])
    model = linear_model.LogisticRegression(C=1.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    expected = model.fit(design, bits).coef_[0]
    np.testing.assert_allclose(fit_logistic(features, bits), expected, atol=1e-6)


@pytest.mark.parametrize("bit", [False, True])
def test_bits_that_never_vary_and_features_on_a_line_have_finite_weights(bit):
    features, bits = draw(2)
    assert np.isfinite(fit_logistic(features, np.full(len(bits), bit))).all()
    doubled = np.column_stack([features, features, 0 * features])
    found = fit_logistic(doubled, bits)
    np.testing.assert_allclose(found[1:4], found[4:7], atol=1e-6)
    np.testing.assert_allclose(found[7:], 0.0, atol=1e-12)


def features(scores):
    logs = np.log(scores + 1e-6)
    return np.concatenate([logs, scores * logs], axis=-1)


@pytest.mark.parametrize("static", [False, True])
def test_a_target_is_scored_by_the_half_it_is_not_in(static):
    outputs, labels, members = random_outputs(0, 7, 60, 3)
    shadows = random_outputs(99, 7, 60, 3)[0] if static else outputs
    groups = labels % 2
    found = membership_log_odds(outputs, shadows, members, groups=groups)
    for parity in (0, 1):
        half = [m for m in range(7) if m % 2 != parity]
        for group in (0, 1):
            points = np.flatnonzero(groups == group)
            known = np.concatenate([features(shadows[m, points]) for m in half])
            bits = np.concatenate([members[m, points] for m in half])
            center, spread = known.mean(0), known.std(0)
            weights = by_scipy((known - center) / spread, bits)
            for t in range(parity, 7, 2):
                for i in points:
                    asked = (features(outputs[t, i]) - center) / spread
                    expected = weights[0] + weights[1:] @ asked
                    assert found[t, i] == pytest.approx(expected, abs=1e-3)


def test_a_row_is_exactly_independent_of_its_own_outputs_as_a_shadow_and_bits():
    outputs, labels, members = random_outputs(1, 8, 40, 3)
    shadows, bits = outputs.copy(), members.copy()
    shadows[3], bits[3] = random_outputs(2, 1, 40, 3)[0][0], ~members[3]
    one = membership_log_odds(outputs, outputs, members, groups=labels)
    other = membership_log_odds(outputs, shadows, bits, groups=labels)
    assert np.array_equal(one[3], other[3])
    assert not np.array_equal(one[2], other[2])


def test_one_model_has_no_shadow():
    outputs, labels, members = random_outputs(1, 1, 40, 3)
    with pytest.raises(NotApplicable, match="no shadow"):
        membership_log_odds(outputs, outputs, members, groups=labels)
