"""Epsilon and delta at the corners of their domain, against closed forms in 40 digits."""

import math

import dp_accounting
import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy.accounting.accountants import epsilon_prv, epsilon_rdp
from dpbench.privacy.accounting.discretisation import loss_interval, sampled_loss
from dpbench.privacy.accounting.domain import NOISE, RATES, STEPS
from dpbench.privacy.accounting.gaussian import delta_gaussian, epsilon_gaussian, mu_gaussian
from dpbench.privacy.accounting.loss import PrivacyLoss

log_deltas = st.floats(-300, -0.01)


def dp_sgd(sigma, rate, steps):
    return privacy.SampledGaussian(noise_multiplier=sigma, sampling_rate=rate, steps=steps).event()


def laplace(scale, rate, steps):
    step = dp_accounting.PoissonSampledDpEvent(rate, dp_accounting.LaplaceDpEvent(scale))
    return dp_accounting.SelfComposedDpEvent(step, steps)


def one_step(sigma, rate, epsilon):
    """Delta of one Poisson-sampled Gaussian: the mass above the output whose loss is epsilon."""
    with mpmath.workdps(40):
        sigma, rate, epsilon = map(mpmath.mpf, (sigma, rate, epsilon))
        growth = mpmath.exp(epsilon)

        def upper(output):
            return mpmath.erfc(output / sigma / mpmath.sqrt(2)) / 2

        cut = sigma**2 * mpmath.log((growth - 1 + rate) / rate) + 0.5
        remove = rate * upper(cut - 1) - (growth - 1 + rate) * upper(cut)
        add = mpmath.mpf(0)
        if rate < 1 and epsilon < -mpmath.log(1 - rate):
            cut = sigma**2 * mpmath.log((1 / growth - 1 + rate) / rate) + 0.5
            add = (1 - growth * (1 - rate)) * upper(-cut) - growth * rate * upper(1 - cut)
        return max(remove, add, mpmath.mpf(0))


def full_batch(mu, epsilon):
    with mpmath.workdps(40):
        mu, epsilon = mpmath.mpf(mu), mpmath.mpf(epsilon)
        return mpmath.ncdf(mu / 2 - epsilon / mu) - mpmath.exp(epsilon) * mpmath.ncdf(
            -mu / 2 - epsilon / mu
        )


# sigma, q, T, delta, epsilon by inverting the Laplace transform of the loss on a shifted contour.
CONTOUR = [
    (1.0, 0.01, 1000, 1e-13, 4.22981),
    (0.8, 0.02, 500, 1e-14, 11.07111),
    (1.0, 0.01, 100_000, 1e-13, 38.91003),
    (4.0, 0.00033, 10_000, 1.1e-18, 0.067213),
    (1.0, 0.01, 1000, 1e-5, 1.82824),
    (1.0, 0.01, 1000, 1e-100, 29.59873),
    (1.0, 0.01, 1000, 1e-290, 82.78139),
]


@pytest.mark.parametrize(("sigma", "rate", "steps", "delta", "exact"), CONTOUR)
def test_epsilon_is_an_upper_bound_at_any_delta(sigma, rate, steps, delta, exact):
    found = privacy.epsilon(dp_sgd(sigma, rate, steps), delta)
    assert exact * (1 - 1e-5) < found < exact * (1 + 1e-4) + 1e-4


@settings(max_examples=25, deadline=None)
@given(st.floats(-1.5, 6), st.floats(-8, -1e-6), log_deltas)
def test_one_sampled_step_at_the_corners(log_sigma, log_rate, log_delta):
    sigma, rate, delta = 10**log_sigma, 10**log_rate, 10**log_delta
    found = PrivacyLoss(dp_sgd(sigma, rate, 1)).epsilon(delta)
    assert one_step(sigma, rate, found) <= delta * (1 + 1e-9)
    # Losses near 1e-8 are resolved to less than that, and epsilon jumps where delta is q.
    if found > 1e-4 and not 0.9 < delta / rate < 1.1:
        assert one_step(sigma, rate, found * (1 - 2e-3)) > delta


@settings(max_examples=25)
@given(st.floats(-6, 2), log_deltas)
def test_full_batches_at_the_corners(log_mu, log_delta):
    mu, delta = 10**log_mu, 10**log_delta
    found = epsilon_gaussian(delta, mu)
    if found > 0:
        assert full_batch(mu, found * (1 + 1e-9)) <= delta * (1 + 1e-8)
        assert full_batch(mu, found * (1 - 1e-6)) > delta
    assert mu_gaussian(found + 1e-9, delta) >= mu * (1 - 1e-6)


@settings(max_examples=6, deadline=None)
@given(st.floats(0.6, 4), st.floats(0.005, 0.5), st.integers(2, 2000), st.floats(-40, -3))
def test_renyi_is_looser_than_the_tail(sigma, rate, steps, log_delta):
    event, delta = dp_sgd(sigma, rate, steps), 10**log_delta
    found = privacy.epsilon(event, delta)
    assert found <= epsilon_rdp(event, delta) * (1 + 1e-3)
    assert privacy.delta(event, found) == pytest.approx(delta, rel=0.02)


@pytest.mark.parametrize("delta", [1e-300, 1e-30, 1e-12, 1e-4])
def test_laplace_noise_never_loses_more_than_its_pure_epsilon(delta):
    pure = 3 * math.log1p(0.25 * math.expm1(0.5))
    event = laplace(2.0, 0.25, 3)
    assert privacy.epsilon(event, 0.0) == epsilon_rdp(event, 0.0) == pytest.approx(pure, rel=1e-12)
    assert 0.5 * pure < privacy.epsilon(event, delta) <= pure
    assert privacy.delta(event, pure) == 0
    assert privacy.epsilon(laplace(2.0, 0.25, 1), 1e-14) == pytest.approx(pure / 3, rel=1e-6)


def test_pure_privacy_of_every_kind_of_event():
    events = dp_accounting.dp_event
    assert privacy.epsilon(dp_sgd(1.0, 0.01, 100), 0) == math.inf
    assert privacy.epsilon(dp_sgd(1.0, 1.0, 1), 0) == math.inf
    assert epsilon_rdp(dp_sgd(1.0, 0.01, 100), 0) == epsilon_prv(dp_sgd(1.0, 0.1, 9), 0) == math.inf
    assert privacy.epsilon(events.DiscreteLaplaceDpEvent(0.5, 3), 0) == 1.5
    both = events.ComposedDpEvent([laplace(1.0, 0.5, 2), events.LaplaceDpEvent(4.0)])
    expected = 2 * math.log((1 + math.e) / 2) + 0.25
    assert privacy.epsilon(both, 0) == pytest.approx(expected)
    response = events.RandomizedResponseDpEvent(0.5, 2)
    assert privacy.epsilon(response, 0, adjacency="replace_one") == pytest.approx(math.log(3))
    with pytest.raises(UserError, match="UnsupportedDpEvent"):
        privacy.epsilon(dp_accounting.UnsupportedDpEvent(), 0)


@pytest.mark.parametrize("delta", [5e-324, 1e-320, 1e-310])
def test_the_smallest_doubles_have_an_upper_bound(delta):
    for event in (dp_sgd(1.0, 0.01, 100), dp_sgd(1.0, 1.0, 1)):
        found = privacy.epsilon(event, delta)
        assert privacy.epsilon(event, 1e-305) < found <= epsilon_rdp(event, delta) * (1 + 1e-3)


def test_deltas_below_rounding_are_not_lost():
    event = dp_sgd(1.0, 0.01, 1000)
    assert privacy.delta(event, 29.6) == pytest.approx(1e-100, rel=0.1)
    assert privacy.delta(event, 4.22981) == pytest.approx(1e-13, rel=2e-3)
    assert privacy.delta(event, math.inf) == 0


@pytest.mark.parametrize(
    ("rate", "steps", "delta", "epsilon"),
    [(1e-6, 1_000_000, 1e-8, 0.0053), (1e-5, 100_000, 1e-9, 0.0199)],
)
def test_rare_samples_cost_no_memory(rate, steps, delta, epsilon):
    event = dp_sgd(1.0, rate, steps)
    # The losses of one step up to ten deviations of the noise, in intervals.
    assert sampled_loss(10.5, rate) / loss_interval(event) <= 1.5e5
    assert privacy.epsilon(event, delta) == pytest.approx(epsilon, abs=6e-5)


@given(st.floats(-20, 600), st.floats(-8, 0))
def test_the_loss_of_a_sample_is_exact(gain, log_rate):
    rate = 10**log_rate
    with mpmath.workdps(40):
        exact = float(mpmath.log(1 - mpmath.mpf(rate) + rate * mpmath.exp(gain)))
    assert float(sampled_loss(gain, rate)) == pytest.approx(exact, rel=1e-9, abs=1e-22)


@pytest.mark.parametrize("make", [dp_sgd, laplace], ids=["gaussian", "laplace"])
def test_outside_of_the_domain_is_refused(make):
    functions = (privacy.epsilon, epsilon_rdp)
    for field, event in {
        "noise multiplier": make(NOISE[0] / 2, 0.1, 2),
        "sampling rate": make(1.0, RATES[0] / 2, 2),
        "steps": make(1.0, 0.1, STEPS + 1),
    }.items():
        for function in functions:
            with pytest.raises(UserError, match=rf"{field}: .*\n  allowed: "):
                function(event, 1e-5)
    for function in (*functions, epsilon_prv):
        for delta in (-1e-9, 1.1, math.nan):
            with pytest.raises(UserError, match="delta"):
                function(make(1.0, 0.1, 2), delta)
    with pytest.raises(UserError, match="epsilon"):
        privacy.delta(make(1.0, 0.1, 2), -1.0)
    with pytest.raises(UserError, match="noise multiplier: nan"):
        privacy.epsilon(make(math.nan, 0.1, 2), 1e-5)


def test_the_closed_forms_refuse_and_end():
    for function in (delta_gaussian, epsilon_gaussian, mu_gaussian):
        with pytest.raises(UserError):
            function(-1.0, 1.0)
        with pytest.raises(UserError):
            function(math.nan, 1.0)
    assert mu_gaussian(math.inf, 0.1) == mu_gaussian(1.0, 1.0) == math.inf
    assert mu_gaussian(1.0, 0.0) == 0
    assert epsilon_gaussian(1.0, 50.0) == 0


@pytest.mark.parametrize("delta", [0.5, 0.9, 1.0])
def test_prv_is_never_negative(delta):
    assert epsilon_prv(dp_sgd(1.0, 0.01, 1000), delta) == 0


@pytest.mark.parametrize("delta", [1e-12, 1.8e-13, 1e-320])
def test_prv_is_refused_where_its_guarantee_ends(delta):
    with pytest.raises(UserError, match="its guarantee allows delta / 1000"):
        epsilon_prv(dp_sgd(4.0, 0.00033, 10_000), delta)
