import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from dpbench import privacy


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
    ("runs", "ceiling"), [(10, 0.81), (50, 2.57), (100, 3.28), (500, 4.91), (1000, 5.60)]
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
