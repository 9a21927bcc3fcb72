import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from dpbench import privacy

epsilons = st.floats(0, 50) | st.just(math.inf)
deltas = st.floats(0, 1)
rates = st.floats(0, 1)

# epsilon: accuracy B1, advantages B2, B3 (delta 1e-5) and B4 (delta 0), accuracies B4 and B11.
PURE = {
    0.1: (0.5526, 0.1052, 0.0952, 0.0500, 0.5250, 0.525),
    0.25: (0.6420, 0.2840, 0.2212, 0.1244, 0.5622, 0.5625),
    0.5: (0.8244, 0.6487, 0.3935, 0.2449, 0.6225, 0.625),
    math.log(2): (1.0, 1.0, 0.5000, 0.3333, 0.6667, 0.6733),
    1: (1.0, 1.0, 0.6321, 0.4621, 0.7311, 0.75),
    2: (1.0, 1.0, 0.8647, 0.7616, 0.8808, 1.0),
    4: (1.0, 1.0, 0.9817, 0.9640, 0.9820, 1.0),
    8: (1.0, 1.0, 0.9997, 0.9993, 0.9997, 1.0),
}

# mu: advantage, epsilon at delta 1e-5, B4 from that epsilon, TPR at FPR 1e-3, AUC.
GAUSSIAN = {
    0.1: (0.0399, 0.3407, 0.1687, 0.00139, 0.5282),
    0.25: (0.0995, 0.9263, 0.4327, 0.00225, 0.5702),
    0.5: (0.1974, 1.9931, 0.7601, 0.00480, 0.6382),
    1: (0.3829, 4.3772, 0.9752, 0.0183, 0.7603),
    2: (0.6827, 9.9973, 0.9999, 0.1378, 0.9214),
    3: (0.8664, 16.6755, 1.0, 0.4641, 0.9831),
}


@pytest.mark.parametrize("epsilon", PURE)
def test_published_table_of_pure_bounds(epsilon):
    found = (
        privacy.accuracy_half_exp(epsilon),
        privacy.advantage_yeom(epsilon),
        privacy.advantage_erlingsson(epsilon, 1e-5),
        privacy.advantage_epsilon(epsilon),
        privacy.accuracy_epsilon(epsilon),
        privacy.posterior_quarter(epsilon),
    )
    assert found == pytest.approx(PURE[epsilon], abs=6e-5)


@pytest.mark.parametrize("mu", GAUSSIAN)
def test_published_table_of_gaussian_bounds(mu):
    epsilon = privacy.epsilon_gaussian(1e-5, mu)
    found = (
        privacy.advantage_gaussian(mu),
        epsilon,
        privacy.advantage_epsilon(epsilon, 1e-5),
        privacy.tpr_gaussian(1e-3, mu),
        privacy.auc_gaussian(mu),
    )
    assert found == pytest.approx(GAUSSIAN[mu], rel=2e-3, abs=6e-5)


@given(epsilons, deltas)
def test_the_epsilon_bound_is_below_the_older_ones_and_they_are_rates(epsilon, delta):
    best = privacy.advantage_epsilon(epsilon, delta)
    assert 0 <= best <= privacy.advantage_erlingsson(epsilon, delta) + 1e-12 <= 1 + 1e-12
    assert privacy.advantage_epsilon(epsilon) <= privacy.advantage_yeom(epsilon) + 1e-12
    assert privacy.advantage_yeom(epsilon) <= 1
    half_exp = privacy.accuracy_half_exp(epsilon)
    assert half_exp == pytest.approx(0.5 + privacy.advantage_yeom(epsilon) / 2)


@given(st.floats(0, 50), deltas, rates, rates, st.floats(0, 1))
def test_the_epsilon_region_is_dp_itself(epsilon, delta, fpr, other, weight):
    tpr = privacy.tpr_epsilon(fpr, epsilon, delta)
    assert fpr - 1e-12 <= tpr <= 1
    # The four inequalities of (epsilon, delta)-DP, one of them with equality unless TPR is 1.
    slack = [
        math.exp(epsilon) * fpr + delta - tpr,
        math.exp(epsilon) * (1 - tpr) + delta - (1 - fpr),
    ]
    assert min(slack) >= -1e-9 * math.exp(epsilon)
    assert min(slack) <= 1e-9 * math.exp(epsilon) or tpr == 1
    # Concave in the FPR, and the mirror image of itself.
    between = privacy.tpr_epsilon(weight * fpr + (1 - weight) * other, epsilon, delta)
    chord = weight * tpr + (1 - weight) * privacy.tpr_epsilon(other, epsilon, delta)
    assert between >= chord - 1e-9


@given(st.floats(0, 20), deltas)
def test_advantage_and_area_are_those_of_the_region(epsilon, delta):
    corner = (1 - delta) / (1 + math.exp(epsilon))
    fpr = np.unique(np.concatenate([np.linspace(0, 1, 2001), [corner, 1 - delta]]))
    tpr = privacy.tpr_epsilon(fpr, epsilon, delta)
    assert np.max(tpr - fpr) == pytest.approx(privacy.advantage_epsilon(epsilon, delta), abs=1e-9)
    assert np.trapezoid(tpr, fpr) == pytest.approx(privacy.auc_epsilon(epsilon, delta), abs=1e-6)


def test_prior_bound_against_a_brute_force_over_decision_rules():
    for epsilon, delta, prior in ((0.5, 0.01, 0.5), (0.2, 0.05, 0.8), (1.0, 0.2, 0.3)):
        fpr = np.linspace(0, 1, 100_001)
        tpr = privacy.tpr_epsilon(fpr, epsilon, delta)
        best = np.max(prior * tpr + (1 - prior) * (1 - fpr))
        assert best <= privacy.accuracy_prior(epsilon, delta, prior) + 1e-9
        tight = max(privacy.accuracy_epsilon(epsilon, delta), prior, 1 - prior)
        assert privacy.accuracy_prior(epsilon, delta, prior) >= tight


@given(st.floats(0, 20), st.floats(0.01, 0.99))
def test_posterior_bounds(epsilon, prior):
    odds = prior / (1 - prior) * math.exp(epsilon)
    assert privacy.posterior_epsilon(epsilon, prior) == pytest.approx(odds / (1 + odds))
    quarter = privacy.posterior_quarter(epsilon, prior)
    assert privacy.posterior_epsilon(epsilon, prior) <= quarter + 1e-12


def test_precision_bound():
    assert privacy.precision_epsilon(1e-6, 1.0, odds=3.0) == pytest.approx(
        math.e / (math.e + 3), rel=1e-5
    )
    assert privacy.precision_epsilon(0.0, 1.0) == 1
    assert privacy.precision_epsilon(1.0, 1.0) == 0.5


def test_no_privacy_allows_everything_without_warnings():
    infinity = math.inf
    assert privacy.accuracy_half_exp(infinity) == 1
    assert privacy.advantage_yeom(infinity) == 1
    assert privacy.advantage_erlingsson(infinity, 1e-5) == 1
    assert privacy.advantage_epsilon(infinity, 1e-5) == 1
    assert np.all(privacy.tpr_epsilon([0.0, 0.5, 1.0], infinity, 0.0) == 1)
    assert np.all(privacy.tpr_gaussian([0.0, 0.5, 1.0], infinity) == 1)
    assert privacy.advantage_gaussian(infinity) == privacy.auc_gaussian(infinity) == 1
    assert privacy.posterior_epsilon(infinity) == privacy.posterior_quarter(infinity) == 1
    assert privacy.precision_epsilon(0.5, infinity) == pytest.approx(2 / 3)
    assert privacy.auc_epsilon(infinity) == 1


def test_no_budget_allows_nothing():
    assert privacy.accuracy_half_exp(0.0) == 0.5
    assert privacy.advantage_yeom(0.0) == privacy.advantage_epsilon(0.0) == 0
    assert privacy.tpr_epsilon(0.3, 0.0) == pytest.approx(0.3)
    assert privacy.auc_epsilon(0.0) == 0.5
    assert privacy.tpr_gaussian(0.3, 0.0) == pytest.approx(0.3)


def test_scalars_give_scalars_and_arrays_broadcast():
    assert isinstance(float(privacy.advantage_epsilon(1.0, 1e-5)), float)
    assert privacy.tpr_epsilon(np.zeros((3, 1)), np.ones(2), 0.0).shape == (3, 2)


@given(st.floats(1e-3, 6), st.floats(1e-6, 1 - 1e-6))
def test_gaussian_curve_is_the_power_of_the_likelihood_ratio_test(mu, fpr):
    cut = norm.isf(fpr)
    assert privacy.tpr_gaussian(fpr, mu) == pytest.approx(norm.sf(cut - mu))
    assert privacy.advantage_gaussian(mu) == pytest.approx(norm.cdf(mu / 2) - norm.cdf(-mu / 2))
    assert privacy.auc_gaussian(mu) == pytest.approx(norm.cdf(mu / math.sqrt(2)))
