import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.special import ndtr, ndtri
from scipy.stats import binom, binomtest

from dpbench import privacy
from dpbench.privacy.audits.audit import (
    clopper_pearson_upper,
    epsilons_from_rates,
    epsilons_from_total,
    mus_from_rates,
    mus_from_total,
)


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "expected"),
    [
        (1000, 1000, 600, 0, 0.29747),
        (1000, 100, 100, 0, 3.49297),
        (1000, 100, 90, 0, 1.63082),
        (1000, 100, 100, 1e-5, 3.46538),
        (1000, 200, 190, 1e-5, 2.39362),
        (5000, 500, 400, 1e-5, 1.19522),
        (1000, 100, 50, 0, 0.0),
    ],
)
def test_one_run_audit_reaches_the_reference_values(canaries, guesses, correct, delta, expected):
    found = privacy.epsilon_one_run(
        canaries=canaries, guesses=guesses, correct=correct, delta=delta
    )
    assert found == pytest.approx(expected, abs=6e-6)


def test_one_run_p_value_against_a_loop_over_the_binomial():
    assert privacy.one_run_p_value(1.0, 100, 100, 80, 0.0) == pytest.approx(0.0715562, abs=1e-7)
    canaries, guesses, correct, delta, epsilon = 300, 40, 33, 1e-3, 0.7
    rate = math.exp(epsilon) / (1 + math.exp(epsilon))
    tail = sum(binom.pmf(k, guesses, rate) for k in range(correct, guesses + 1))
    slack = max(
        sum(binom.pmf(k, guesses, rate) for k in range(correct - i, correct)) / i
        for i in range(1, correct + 1)
    )
    expected = tail + 2 * canaries * delta * slack
    found = privacy.one_run_p_value(epsilon, canaries, guesses, correct, delta)
    assert found == pytest.approx(expected)
    assert privacy.one_run_p_value(1.0, 100, 100, 0, 0.0) == 1


@pytest.mark.parametrize(("errors", "trials"), [(0, 10), (3, 10), (10, 10), (500, 1000)])
def test_clopper_pearson_is_scipys(errors, trials):
    expected = binomtest(errors, trials).proportion_ci(0.95, "exact").high
    assert privacy.clopper_pearson_upper(errors, trials) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("false_positives", "false_negatives", "trials", "delta", "expected"),
    [(0, 500, 1000, 0, 4.8462), (5, 700, 1000, 0, 3.1512), (10, 200, 1000, 1e-5, 3.7437)],
)
def test_two_outcome_conversion_reaches_the_reference_values(
    false_positives, false_negatives, trials, delta, expected
):
    found = privacy.epsilon_from_rates(
        fpr_upper=float(privacy.clopper_pearson_upper(false_positives, trials)),
        fnr_upper=float(privacy.clopper_pearson_upper(false_negatives, trials)),
        delta=delta,
    )
    assert found == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(
    ("runs", "ceiling"),
    [(10, 0.81), (20, 1.60), (50, 2.57), (100, 3.28), (200, 3.98), (500, 4.91), (1000, 5.60)],
)
def test_ceiling_of_error_free_runs(runs, ceiling):
    limit = float(privacy.clopper_pearson_upper(0, runs))
    found = privacy.epsilon_from_rates(fpr_upper=limit, fnr_upper=limit)
    assert found == pytest.approx(ceiling, abs=6e-3)


def test_rates_of_a_private_mechanism_refute_nothing_beyond_its_epsilon():
    epsilon, delta = 1.3, 1e-2
    for fpr in np.linspace(1e-3, 1 - 2 * delta, 97):
        fnr = 1 - float(privacy.tpr_epsilon(fpr, epsilon, delta))
        found = privacy.epsilon_from_rates(fpr_upper=fpr, fnr_upper=fnr, delta=delta)
        assert found == pytest.approx(epsilon, abs=1e-9)


def test_guessing_refutes_nothing():
    assert privacy.epsilon_from_rates(fpr_upper=0.5, fnr_upper=0.5) == 0
    assert privacy.epsilon_from_rates(fpr_upper=1.0, fnr_upper=0.0) == 0
    assert privacy.epsilon_from_rates(fpr_upper=0.0, fnr_upper=0.5) == math.inf
    assert privacy.mu_from_rates(fpr_upper=0.5, fnr_upper=0.6) == 0


def test_gaussian_conversion_reaches_the_reference_value():
    mu = privacy.mu_from_rates(fpr_upper=0.003682, fnr_upper=0.531451)
    assert mu == pytest.approx(2.6010, abs=1e-3)
    assert privacy.epsilon_gaussian(1e-5, mu) == pytest.approx(13.887, abs=1e-2)


rates = st.floats(1e-6, 1 - 1e-6)
deltas = st.sampled_from([0.0, 1e-5, 0.1])


@given(fpr=rates, fnr=rates, delta=deltas)
def test_arrays_of_rates_give_what_single_rates_give(fpr, fnr, delta):
    single = privacy.epsilon_from_rates(fpr_upper=fpr, fnr_upper=fnr, delta=delta)
    assert epsilons_from_rates([fpr, 0.5], [fnr, 0.5], delta).tolist() == [single, 0.0]
    mu = privacy.mu_from_rates(fpr_upper=fpr, fnr_upper=fnr)
    assert mus_from_rates([fpr, 0.5], [fnr, 0.5]).tolist() == [mu, 0.0]


@given(fpr=rates, fnr=rates, delta=deltas, more=st.floats(0, 0.5))
def test_more_errors_refute_less(fpr, fnr, delta, more):
    worse = min(1.0, fpr + more)
    assert epsilons_from_rates(worse, fnr, delta) <= epsilons_from_rates(fpr, fnr, delta) + 1e-12
    assert mus_from_rates(worse, fnr) <= mus_from_rates(fpr, fnr) + 1e-12
    assert mus_from_total(worse) <= mus_from_total(fpr) + 1e-12


@given(epsilon=st.floats(0.01, 12), share=st.floats(0.05, 0.95), delta=deltas)
def test_the_least_total_error_of_a_private_mechanism_refutes_its_epsilon_and_no_more(
    epsilon, share, delta
):
    """The least error is looked for on a fine grid of the attack's FPR."""
    fpr = np.append(np.linspace(0, 1, 4001), (1 - delta) / (1 + math.exp(epsilon)))
    fnr = 1 - privacy.tpr_epsilon(fpr, epsilon, delta)
    least = np.min((1 - share) * fpr + share * fnr)
    found = float(epsilons_from_total(least, share, delta))
    assert found <= epsilon + 1e-9
    inside = (1 - delta) / (1 + math.exp(epsilon)) < (1 - delta) * min(share, 1 - share)
    assert found == pytest.approx(epsilon if inside else 0.0, abs=1e-6)


@given(mu=st.floats(0.3, 8), share=st.floats(0.1, 0.9))
def test_the_least_total_error_of_a_gaussian_mechanism_refutes_its_mu_and_no_more(mu, share):
    def error(cut):
        return (1 - share) * ndtr(-cut) + share * ndtr(cut - mu)

    least = minimize_scalar(error, bounds=(-20, 20 + mu), method="bounded").fun
    if least < 0.999 * min(share, 1 - share):
        assert float(mus_from_total(least, share)) == pytest.approx(mu, rel=1e-3)


def test_the_total_error_of_balanced_gaussians_has_a_closed_form():
    assert float(mus_from_total(0.3085)) == pytest.approx(-2 * ndtri(0.3085), abs=1e-9)
    assert mus_from_total([0.5, 0.6, 0.0]).tolist() == [0, 0, pytest.approx(40.0)]
    assert epsilons_from_total([0.5, 0.6]).tolist() == [0, 0]
    # 64 trials without an error prove more in one count than in two.
    together = float(epsilons_from_total(clopper_pearson_upper(0, 64, 0.05)))
    apart = float(epsilons_from_rates(*[clopper_pearson_upper(0, 32)] * 2))
    assert together == pytest.approx(3.04, abs=5e-3)
    assert apart == pytest.approx(2.10, abs=5e-3)
