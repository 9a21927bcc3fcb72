import math

import dp_accounting
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from dpbench.privacy import delta_gaussian, epsilon_gaussian, mu_gaussian

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


def test_the_ends():
    assert delta_gaussian(1.0, 0.0) == 0
    assert delta_gaussian(1.0, math.inf) == 1
    assert delta_gaussian(math.inf, 1.0) == 0
    assert epsilon_gaussian(1e-5, 0.0) == 0
    assert epsilon_gaussian(1e-5, math.inf) == math.inf
    assert epsilon_gaussian(0.0, 1.0) == math.inf
    assert epsilon_gaussian(0.5, 0.1) == 0
