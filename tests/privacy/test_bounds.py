import math

import finite_mechanisms as finite
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.stats import norm

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy.bounds import bounds
from dpbench.privacy.bounds.curve import accuracy_curve, advantage_curve, auc_curve

epsilons = st.floats(0, 50) | st.just(math.inf)
deltas = st.floats(0, 1)
rates = st.floats(0, 1)
priors = st.floats(1e-6, 1 - 1e-6)

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

# DP-SGD's sigma, q, T: epsilon at delta 1e-5, B4 from it, and the advantage of the central limit.
SUBSAMPLED = {
    (1.0, 0.01, 1000): (1.878, 0.7348, 0.1642),
    (0.8, 0.02, 500): (4.693, 0.9818, 0.3359),
    (1.5, 0.1, 300): (6.306, 0.9964, 0.4829),
    (4.0, 0.5, 100): (5.874, 0.9944, 0.4745),
    (0.5, 0.05, 200): (24.84, 1.0, 0.9904),
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


@pytest.mark.parametrize("mechanism", SUBSAMPLED, ids=str)
def test_published_table_of_subsampled_bounds(mechanism):
    sigma, rate, steps = mechanism
    epsilon, advantage, central_limit = SUBSAMPLED[mechanism]
    assert privacy.advantage_epsilon(epsilon, 1e-5) == pytest.approx(advantage, abs=6e-5)
    mu = rate * math.sqrt(steps * math.expm1(1 / sigma**2))
    assert privacy.advantage_gaussian(mu) == pytest.approx(central_limit, abs=6e-5)


@given(st.floats(0, 6), st.floats(0, 0.9), st.floats(0.01, 0.99))
def test_prior_bound_is_the_optimum_of_a_linear_program_over_the_region(epsilon, delta, prior):
    growth = math.exp(epsilon)
    # In (FPR, TPR): TPR <= growth FPR + delta, and 1 - FPR <= growth (1 - TPR) + delta.
    best = linprog(
        [1 - prior, -prior],
        A_ub=[[-growth, 1], [-1, growth]],
        b_ub=[delta, growth + delta - 1],
        bounds=(0, 1),
    )
    found = privacy.accuracy_prior(epsilon, delta, prior)
    assert found == pytest.approx(1 - prior - best.fun, abs=1e-7)


@given(st.floats(0.01, 8), st.floats(0, 0.9), rates)
def test_leaky_response_attains_the_region_at_every_fpr(epsilon, delta, fpr):
    """B4, B5 and B13, against every attack on the mechanism that B4 calls the worst."""
    world = finite.leaky_response(epsilon, delta)
    attacks = finite.all_attacks(*world)
    assert np.max(attacks[1] - attacks[0]) == pytest.approx(
        privacy.advantage_epsilon(epsilon, delta), abs=1e-12
    )
    assert np.all(attacks[1] <= privacy.tpr_epsilon(attacks[0], epsilon, delta) + 1e-12)
    # Between two attacks, toss a coin.
    curve = finite.exact_curve([world])
    assert curve(fpr) == pytest.approx(privacy.tpr_epsilon(fpr, epsilon, delta), abs=1e-12)
    area = np.trapezoid(*finite.best_attacks(*world)[::-1])
    assert area == pytest.approx(privacy.auc_epsilon(epsilon, delta), abs=1e-12)


@given(st.floats(0, 20), st.floats(0.01, 0.99))
def test_posterior_bounds(epsilon, prior):
    odds = prior / (1 - prior) * math.exp(epsilon)
    assert privacy.posterior_epsilon(epsilon, prior) == pytest.approx(odds / (1 + odds))
    assert bounds.posterior_odds(epsilon, odds=(1 - prior) / prior) == pytest.approx(
        odds / (1 + odds)
    )
    quarter = privacy.posterior_quarter(epsilon, prior)
    assert privacy.posterior_epsilon(epsilon, prior) <= quarter + 1e-12


def test_precision_bound():
    assert privacy.precision_epsilon(1e-6, 1.0, odds=3.0) == pytest.approx(
        math.e / (math.e + 3), rel=1e-5
    )
    # The limit of small FPR is the posterior, for any odds.
    assert privacy.precision_epsilon(1e-9, 2.0, odds=7.0) == pytest.approx(
        bounds.posterior_odds(2.0, odds=7.0)
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
    assert bounds.accuracy_gaussian(infinity, 0.2) == 1
    assert bounds.posterior_odds(infinity, odds=9.0) == 1
    assert bounds.advantage_at_fpr(0.25, infinity) == 0.75


def test_no_budget_allows_nothing():
    assert privacy.accuracy_half_exp(0.0) == 0.5
    assert privacy.advantage_yeom(0.0) == privacy.advantage_epsilon(0.0) == 0
    assert privacy.tpr_epsilon(0.3, 0.0) == pytest.approx(0.3)
    assert privacy.auc_epsilon(0.0) == 0.5
    assert privacy.tpr_gaussian(0.3, 0.0) == pytest.approx(0.3)
    assert bounds.accuracy_gaussian(0.0, [0.2, 0.5, 0.9]) == pytest.approx([0.8, 0.5, 0.9])
    assert bounds.advantage_at_fpr(0.3, 0.0) == pytest.approx(0)
    assert bounds.precision_gaussian(0.3, 0.0, odds=3.0) == pytest.approx(0.25)


def test_scalars_give_scalars_and_arrays_broadcast():
    assert isinstance(float(privacy.advantage_epsilon(1.0, 1e-5)), float)
    assert privacy.tpr_epsilon(np.zeros((3, 1)), np.ones(2), 0.0).shape == (3, 2)


@given(st.floats(1e-3, 6), st.floats(1e-6, 1 - 1e-6))
def test_gaussian_curve_is_the_power_of_the_likelihood_ratio_test(mu, fpr):
    cut = norm.isf(fpr)
    assert privacy.tpr_gaussian(fpr, mu) == pytest.approx(norm.sf(cut - mu))
    assert privacy.advantage_gaussian(mu) == pytest.approx(norm.cdf(mu / 2) - norm.cdf(-mu / 2))
    assert privacy.auc_gaussian(mu) == pytest.approx(norm.cdf(mu / math.sqrt(2)))


@given(st.floats(0, 8), priors)
def test_gaussian_accuracy_at_a_prior_is_that_of_the_best_point_on_the_curve(mu, prior):
    """Against the maximum over the curve, and against the privacy profile by its definition."""
    found = bounds.accuracy_gaussian(mu, prior)
    curve = accuracy_curve(lambda fpr: privacy.tpr_gaussian(fpr, mu), prior)
    assert found == pytest.approx(curve, abs=1e-12)
    slack = privacy.delta_gaussian(abs(math.log(prior / (1 - prior))), mu)
    assert found == pytest.approx(max(prior, 1 - prior) + min(prior, 1 - prior) * slack, abs=1e-9)


@given(st.floats(0, 20), deltas, priors)
def test_functionals_of_a_curve_are_the_closed_forms_of_the_region(epsilon, delta, prior):
    def region(fpr):
        return privacy.tpr_epsilon(fpr, epsilon, delta)

    assert advantage_curve(region) == pytest.approx(privacy.advantage_epsilon(epsilon, delta))
    assert accuracy_curve(region, prior) == pytest.approx(
        privacy.accuracy_prior(epsilon, delta, prior), abs=1e-12
    )
    area = privacy.auc_epsilon(epsilon, delta)
    assert area - 1e-12 <= auc_curve(region) <= area + 1e-5


def test_precision_depends_on_the_fpr_that_the_attack_has():
    """At FPR <= 1 % a bound at 1 % does not hold: the attack may have none at all."""
    assert privacy.precision_epsilon(1e-4, 1.0, 1e-3) > privacy.precision_epsilon(1e-2, 1.0, 1e-3)


WRONG = [
    ("epsilon", -0.1, lambda value: privacy.advantage_epsilon(value)),
    ("epsilon", math.nan, lambda value: privacy.advantage_yeom(value)),
    ("epsilon", -1.0, lambda value: privacy.posterior_epsilon([1.0, value])),
    ("delta", -1e-9, lambda value: privacy.advantage_erlingsson(1.0, value)),
    ("delta", 1.5, lambda value: privacy.auc_epsilon(1.0, value)),
    ("delta", math.inf, lambda value: privacy.accuracy_prior(1.0, value)),
    ("fpr", -0.1, lambda value: privacy.tpr_epsilon(value, 1.0)),
    ("fpr", 1.1, lambda value: privacy.tpr_gaussian([0.5, value], 1.0)),
    ("fpr", math.nan, lambda value: bounds.advantage_at_fpr(value, 1.0)),
    ("mu", -1.0, lambda value: privacy.advantage_gaussian(value)),
    ("mu", math.nan, lambda value: privacy.auc_gaussian(value)),
    ("prior", 0.0, lambda value: privacy.accuracy_prior(1.0, 0.0, value)),
    ("prior", 1.0, lambda value: privacy.posterior_quarter(1.0, value)),
    ("prior", 2.0, lambda value: bounds.accuracy_gaussian(1.0, value)),
    ("odds", 0.0, lambda value: privacy.precision_epsilon(0.1, 1.0, odds=value)),
    ("odds", math.inf, lambda value: bounds.posterior_odds(1.0, odds=value)),
]


@pytest.mark.parametrize(("field", "value", "call"), WRONG, ids=[f"{w[0]}={w[1]}" for w in WRONG])
def test_impossible_values_name_their_field(field, value, call):
    with pytest.raises(UserError, match=rf"^{field}: {value:g} is not possible\n  allowed"):
        call(value)
