"""The accountants beside the privacy-loss distribution, and events at the edge of the possible."""

import math

import dp_accounting
import pytest
from dp_accounting.dp_event import DiscreteLaplaceDpEvent
from dp_accounting.rdp import RdpAccountant
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy.accounting.accountants import epsilon_prv, epsilon_rdp
from dpbench.privacy.accounting.discretisation import loss_interval

ERROR = 0.01


def dp_sgd(sigma, rate, steps):
    return privacy.SampledGaussian(noise_multiplier=sigma, sampling_rate=rate, steps=steps).event()


@settings(max_examples=8)
@given(st.floats(0.4, 8), st.floats(0.01, 1), st.integers(1, 300), st.floats(-8, -2))
def test_renyi_is_above_the_source(sigma, rate, steps, log_delta):
    event, delta = dp_sgd(sigma, rate, steps), 10**log_delta
    assert epsilon_rdp(event, delta) >= privacy.epsilon(event, delta) * (1 - 1e-3)


def test_renyi_of_a_gaussian_is_the_textbook_formula():
    # D_a = a mu^2 / 2, and its conversion by Canonne et al. 2020, minimised over the order.
    mu, delta = 0.5, 1e-5
    orders = [1.1 + k / 1000 for k in range(60_000)]
    expected = min(
        a * mu**2 / 2 + math.log1p(-1 / a) - math.log(delta * a) / (a - 1) for a in orders
    )
    found = epsilon_rdp(dp_sgd(2.0, 1.0, 1), delta)
    assert expected <= found + 1e-12
    assert found == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize(
    ("sigma", "rate", "steps", "delta"),
    [
        (1.0, 0.01, 1000, 1e-5),
        (4.0, 0.5, 100, 1e-6),
        (0.7, 0.1, 50, 1e-4),
        (5.0, 1.0, 30, 1e-5),
    ],
)
def test_prv_agrees_with_the_source(sigma, rate, steps, delta):
    event = dp_sgd(sigma, rate, steps)
    difference = epsilon_prv(event, delta, error=ERROR) - privacy.epsilon(event, delta)
    assert -1e-4 < difference < 1.5 * ERROR


def test_prv_of_a_composition():
    event = dp_accounting.ComposedDpEvent(
        [dp_sgd(1.5, 0.1, 20), dp_sgd(3.0, 0.3, 10), dp_accounting.GaussianDpEvent(4.0)]
    )
    difference = epsilon_prv(event, 1e-5) - privacy.epsilon(event, 1e-5)
    assert -1e-4 < difference < 1.5 * ERROR


def test_prv_refuses_with_its_reason():
    with pytest.raises(UserError, match="losses reach"):
        epsilon_prv(dp_sgd(0.05, 0.01, 1000), 1e-5)
    with pytest.raises(UserError, match="points; error=1e-06 is too small"):
        epsilon_prv(dp_sgd(1.0, 0.01, 1000), 1e-5, error=1e-6)
    with pytest.raises(UserError, match="does not know Laplace"):
        epsilon_prv(dp_accounting.LaplaceDpEvent(1.0), 1e-5)
    with pytest.raises(UserError, match="rounding may move delta"):
        epsilon_prv(dp_sgd(1.0, 0.01, 1000), 1e-18)


def test_no_noise_and_no_access():
    silent = dp_accounting.NoOpDpEvent()
    never = dp_accounting.PoissonSampledDpEvent(0.0, dp_accounting.GaussianDpEvent(1.0))
    open_book = dp_accounting.PoissonSampledDpEvent(0.1, dp_accounting.GaussianDpEvent(0.0))
    for accountant in (privacy.epsilon, epsilon_rdp, epsilon_prv):
        assert accountant(silent, 1e-5) == 0
        assert accountant(never, 1e-5) == 0
        assert accountant(dp_sgd(0.0, 0.1, 5), 1e-5) == math.inf
        assert accountant(open_book, 1e-5) == math.inf


def test_unknown_events_are_refused():
    unknown = dp_accounting.UnsupportedDpEvent()
    for accountant in (privacy.epsilon, epsilon_rdp, epsilon_prv):
        with pytest.raises(UserError, match="UnsupportedDpEvent"):
            accountant(unknown, 1e-5)


def test_the_renyi_accountant_is_silent_about_orders_it_leaves_out(caplog):
    event = dp_sgd(1.0, 0.1, 150)
    found = epsilon_rdp(event, 1e-5)
    assert not caplog.records
    assert RdpAccountant().compose(event).get_epsilon(1e-5) == found
    assert "Excluding this order" in caplog.text


def test_tiny_noise_shows_who_was_sampled():
    # Every step that sampled the example loses 1 / (2 sigma^2) and a normal share of 1 / sigma.
    sigma, rate, steps, delta = 0.003, 0.01, 1000, 1e-5
    event = dp_sgd(sigma, rate, steps)
    count = binom.isf(delta, steps, rate)
    loss = 1 / (2 * sigma**2)
    assert (count - 1) * loss < privacy.epsilon(event, delta) < (count + 1) * loss
    sampled = 1 - (1 - rate) ** steps
    assert privacy.advantage(event) == pytest.approx(sampled, abs=1e-6)
    assert privacy.trade_off(event, 0.1) == pytest.approx(min(1, sampled + 0.1), abs=1e-6)


def test_one_step_with_tiny_noise():
    sigma, rate, delta = 0.001, 0.1, 1e-5
    loss = 1 / (2 * sigma**2) + norm.isf(delta / rate) / sigma + math.log(rate)
    assert privacy.epsilon(dp_sgd(sigma, rate, 1), delta) == pytest.approx(loss, rel=1e-4)


def test_mixed_events_with_tiny_noise():
    event = dp_accounting.ComposedDpEvent([dp_sgd(0.01, 0.01, 500), dp_sgd(0.02, 0.1, 50)])
    unseen = 0.99**500 * 0.9**50
    assert privacy.advantage(event) == pytest.approx(1 - unseen, abs=1e-5)
    # Little noise beside much of it: the bound stays above either alone.
    mixed = dp_accounting.ComposedDpEvent([dp_sgd(0.05, 0.01, 3), dp_sgd(2.0, 0.02, 500)])
    alone = [privacy.advantage(part) for part in mixed.events]
    assert max(alone) < privacy.advantage(mixed) < sum(alone)


@pytest.mark.parametrize("scale", [0.002, 0.1, 2.0])
def test_laplace_noise_of_any_scale(scale):
    event = dp_accounting.LaplaceDpEvent(scale)
    assert privacy.epsilon(event, 1e-12) == pytest.approx(1 / scale, rel=1e-3)
    assert privacy.advantage(event) == pytest.approx(-math.expm1(-1 / (2 * scale)), rel=1e-4)


def test_hopeless_events_are_refused():
    with pytest.raises(UserError, match="too large to account for"):
        privacy.epsilon(dp_sgd(0.003, 0.9, 100_000), 1e-5)


def test_the_interval_of_other_events_is_the_accountants_own():
    event = DiscreteLaplaceDpEvent(noise_parameter=1.0, sensitivity=1)
    assert loss_interval(event) == 1e-4
    assert privacy.epsilon(event, 0.0) == pytest.approx(1.0, abs=1e-3)
