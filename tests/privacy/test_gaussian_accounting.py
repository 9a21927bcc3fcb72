import math

import dp_accounting
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from dpbench import privacy
from dpbench.privacy import SampledGaussian, delta_gaussian, epsilon_gaussian, mu_gaussian

# mu, and as printed: advantage, epsilon(1e-5), B4 of that epsilon, TPR at an FPR of 1e-3, AUC.
PRINTED = [
    (0.1, 0.0399, 0.3407, 0.1687, 0.00139, 0.5282),
    (0.25, 0.0995, 0.9263, 0.4327, 0.00225, 0.5702),
    (0.5, 0.1974, 1.9931, 0.7601, 0.00480, 0.6382),
    (1.0, 0.3829, 4.3772, 0.9752, 0.0183, 0.7603),
    (2.0, 0.6827, 9.9973, 0.9999, 0.1378, 0.9214),
    (3.0, 0.8664, 16.6755, 1.0, 0.4641, 0.9831),
]

mus = st.floats(1e-2, 50)
log_deltas = st.floats(-12, -0.1)


@given(st.floats(0, 10), st.floats(0.05, 5))
def test_delta_is_the_textbook_formula(epsilon, mu):
    expected = norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(
        -mu / 2 - epsilon / mu
    )
    assert delta_gaussian(epsilon, mu) == pytest.approx(expected, rel=1e-6, abs=1e-15)


@given(mus, log_deltas)
def test_epsilon_agrees_with_dp_accounting(mu, log_delta):
    delta = 10**log_delta
    expected = dp_accounting.get_epsilon_gaussian(1 / mu, delta)
    assert epsilon_gaussian(delta, mu) == pytest.approx(expected, rel=1e-6, abs=1e-8)


@given(st.floats(1e-3, 1e4), log_deltas)
def test_mu_and_epsilon_are_inverse_and_never_overshoot(epsilon, log_delta):
    delta = 10**log_delta
    mu = mu_gaussian(epsilon, delta)
    assert delta_gaussian(epsilon, mu) <= delta
    assert epsilon_gaussian(delta, mu) == pytest.approx(epsilon, rel=1e-5)


@pytest.mark.parametrize(("mu", "advantage", "epsilon", "b4", "tpr", "auc"), PRINTED)
def test_published_gaussian_table(mu, advantage, epsilon, b4, tpr, auc):
    event = SampledGaussian(noise_multiplier=1 / mu, sampling_rate=1.0, steps=1).event()
    found = privacy.epsilon(event, 1e-5)
    assert privacy.advantage(event) == pytest.approx(advantage, abs=5e-5)
    assert found == pytest.approx(epsilon, abs=5e-5)
    assert privacy.advantage_epsilon(found, 1e-5) == pytest.approx(b4, abs=5e-5)
    assert privacy.trade_off(event, 1e-3) == pytest.approx(tpr, abs=5e-6 if tpr < 0.01 else 5e-5)
    # 0.76024994 is printed as 0.7603.
    assert privacy.auc_gaussian(mu) == pytest.approx(auc, abs=5.1e-5)


def test_the_ends():
    assert delta_gaussian(1.0, 0.0) == 0
    assert delta_gaussian(1.0, math.inf) == 1
    assert delta_gaussian(math.inf, 1.0) == 0
    assert epsilon_gaussian(1e-5, 0.0) == 0
    assert epsilon_gaussian(1e-5, math.inf) == math.inf
    assert epsilon_gaussian(0.0, 1.0) == math.inf
    assert epsilon_gaussian(0.5, 0.1) == 0
