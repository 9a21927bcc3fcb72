import math
import subprocess
import sys

import dp_accounting
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy.mechanism import accountant

FPR = np.concatenate([[0.0], np.logspace(-6, 0, 61)])

# sigma, q, T and, with losses rounded up instead of to the nearest dots, epsilon(1e-5) and B7.
ROUNDED_UP = [
    (1.0, 0.01, 1000, 1.878, 0.1821),
    (0.8, 0.02, 500, 4.693, 0.3183),
    (1.5, 0.1, 300, 6.306, 0.4700),
    (4.0, 0.5, 100, 5.874, 0.4693),
]


def dp_sgd(sigma, rate, steps):
    return privacy.SampledGaussian(noise_multiplier=sigma, sampling_rate=rate, steps=steps).event()


def convolved_deltas(sigma, rate, steps, epsilons):
    """An independent accountant: FFT of the loss of the remove direction, rounded to nearest."""
    width = 2e-4 if steps * rate < 20 else 1e-3
    mean_loss, size = 0.0, 2**19
    noise = np.linspace(-12, 12, 2_000_001)
    mass = np.exp(-(noise**2) / 2)
    mass /= mass.sum()
    grid = np.zeros(size)
    for shift, probability in ((0.0, 1 - rate), (1.0, rate)):
        x = shift + sigma * noise
        loss = np.log1p(rate * np.expm1((2 * x - 1) / (2 * sigma**2)))
        cells = np.rint(loss / width).astype(int)
        np.add.at(grid, cells % size, probability * mass)
        mean_loss += probability * (mass @ loss)
    composed = np.fft.irfft(np.fft.rfft(grid) ** steps, size)
    centre = round(steps * mean_loss / width)
    losses = width * (centre + (np.arange(size) - centre + size // 2) % size - size // 2)
    gain = -np.expm1(np.minimum(np.asarray(epsilons)[:, None] - losses, 0.0))
    return gain @ composed


@pytest.mark.parametrize(("sigma", "rate", "steps", "epsilon", "advantage"), ROUNDED_UP)
def test_published_dp_sgd_table_bounds_ours_from_above(sigma, rate, steps, epsilon, advantage):
    event = dp_sgd(sigma, rate, steps)
    assert 0.95 * epsilon < privacy.epsilon(event, 1e-5) < epsilon
    assert 0.85 * advantage < privacy.advantage(event) < advantage


@pytest.mark.parametrize(("sigma", "rate", "steps"), [(1.5, 0.1, 300), (4.0, 0.5, 100)])
def test_accountant_agrees_with_an_independent_convolution(sigma, rate, steps):
    event = dp_sgd(sigma, rate, steps)
    epsilons = [0.0, 1.0, 3.0]
    expected = convolved_deltas(sigma, rate, steps, epsilons)
    found = [privacy.delta(event, value) for value in epsilons]
    assert found == pytest.approx(expected, rel=3e-4)


def test_discretisation_is_pessimistic_and_fine():
    event = dp_sgd(1.0, 0.05, 200)
    fine = dp_accounting.pld.PLDAccountant(value_discretization_interval=1e-4).compose(event)
    assert 1 - 1e-6 < privacy.epsilon(event, 1e-5) / fine.get_epsilon(1e-5) < 1 + 2e-4
    assert 1 - 1e-6 < privacy.advantage(event) / fine.get_delta(0.0) < 1 + 2e-4


@pytest.mark.parametrize(("sigma", "steps"), [(0.5, 1), (5.0, 30), (40.0, 100)])
def test_full_batch_is_exact_and_the_limit_of_sampling(sigma, steps):
    exact, nearly = dp_sgd(sigma, 1.0, steps), dp_sgd(sigma, 1 - 1e-9, steps)
    mu = math.sqrt(steps) / sigma
    assert privacy.gaussian_mu(exact) == pytest.approx(mu)
    assert privacy.epsilon(exact, 1e-5) == pytest.approx(privacy.epsilon_gaussian(1e-5, mu))
    assert privacy.epsilon(nearly, 1e-5) == pytest.approx(privacy.epsilon(exact, 1e-5), rel=5e-4)
    assert privacy.advantage(nearly) == pytest.approx(privacy.advantage(exact), rel=5e-4)
    above = privacy.trade_off(nearly, FPR) - privacy.trade_off(exact, FPR)
    assert above.min() > -1e-7
    assert above.max() < 1e-3


@pytest.mark.parametrize(("sigma", "rate", "steps"), [(1.0, 0.05, 200), (4.0, 0.5, 100)])
def test_trade_off_curve_is_a_symmetric_concave_roc(sigma, rate, steps):
    event = dp_sgd(sigma, rate, steps)
    fpr = np.linspace(0, 1, 1001)
    tpr = privacy.trade_off(event, fpr)
    slopes = np.diff(tpr) / np.diff(fpr)
    assert np.all(tpr >= fpr)
    assert tpr[0] < 1e-6
    assert tpr[-1] == 1
    assert np.all(slopes >= 0)
    assert np.all(np.diff(slopes) <= 1e-9)
    assert np.max(tpr - fpr) == pytest.approx(privacy.advantage(event), abs=1e-4)
    mirrored = np.interp(fpr, 1 - tpr[::-1], 1 - fpr[::-1])
    assert mirrored == pytest.approx(tpr, abs=1e-3)


def test_trade_off_and_advantage_agree_with_riskcal():
    conversions = pytest.importorskip("riskcal.analysis")
    for sigma, rate, steps in ((1.0, 0.05, 200), (4.0, 0.5, 100)):
        event = dp_sgd(sigma, rate, steps)
        distribution = accountant(event)._pld
        tpr = 1 - conversions.get_beta_from_pld(distribution, alpha=FPR)
        found = privacy.trade_off(event, FPR)
        assert found == pytest.approx(tpr, abs=2e-4)
        assert found[FPR >= 1e-4] == pytest.approx(tpr[FPR >= 1e-4], rel=2e-3)
        assert np.all(found >= tpr - 1e-6)
        expected = conversions.get_advantage_from_pld(distribution)
        assert privacy.advantage(event) == pytest.approx(expected)


@settings(max_examples=6)
@given(st.floats(0.7, 6), st.floats(0.05, 0.9), st.integers(1, 60), st.floats(-7, -2))
def test_the_bounds_are_ordered(sigma, rate, steps, log_delta):
    event, delta = dp_sgd(sigma, rate, steps), 10**log_delta
    epsilon = privacy.epsilon(event, delta)
    tightest = privacy.advantage(event)
    middle = privacy.advantage_epsilon(epsilon, delta)
    older = privacy.advantage_erlingsson(epsilon, delta)
    assert tightest <= middle + 1e-9
    assert middle <= min(older, privacy.advantage_yeom(epsilon) + 2 * delta) + 1e-9
    curve = privacy.trade_off(event, FPR)
    assert np.all(curve <= privacy.tpr_epsilon(FPR, epsilon, delta) + 1e-6)


def test_more_noise_fewer_steps_and_rarer_sampling_are_more_private():
    base = privacy.epsilon(dp_sgd(1.0, 0.2, 50), 1e-5)
    assert privacy.epsilon(dp_sgd(1.2, 0.2, 50), 1e-5) < base
    assert privacy.epsilon(dp_sgd(1.0, 0.1, 50), 1e-5) < base
    assert privacy.epsilon(dp_sgd(1.0, 0.2, 40), 1e-5) < base


@pytest.mark.parametrize("sigma", [0.02, 0.1, 500.0])
def test_extreme_noise_gives_numbers_without_warnings(sigma):
    event = dp_sgd(sigma, 0.25, 20)
    assert 0 <= privacy.epsilon(event, 1e-5) < math.inf
    assert 0 <= privacy.advantage(event) <= 1
    assert np.all(np.diff(privacy.trade_off(event, FPR)) >= 0)


def test_no_noise_is_no_privacy():
    event = dp_sgd(0.0, 0.1, 10)
    assert isinstance(event, dp_accounting.NonPrivateDpEvent)
    assert privacy.epsilon(event, 1e-5) == math.inf
    assert privacy.delta(event, 10.0) == 1
    assert privacy.advantage(event) == 1
    assert np.all(privacy.trade_off(event, [0.0, 0.5]) == 1)
    mixed = dp_accounting.ComposedDpEvent([event, dp_sgd(1.0, 0.1, 10)])
    assert privacy.epsilon(mixed, 1e-5) == math.inf


def test_compositions():
    gaussian = dp_accounting.GaussianDpEvent(2.0)
    both = dp_accounting.ComposedDpEvent([gaussian, dp_accounting.SelfComposedDpEvent(gaussian, 3)])
    assert privacy.gaussian_mu(both) == pytest.approx(1.0)
    assert privacy.gaussian_mu(dp_accounting.NoOpDpEvent()) == 0
    sampled = dp_sgd(2.0, 0.5, 4)
    mixed = dp_accounting.ComposedDpEvent([gaussian, sampled])
    assert privacy.gaussian_mu(mixed) is None
    assert privacy.epsilon(mixed, 1e-5) > privacy.epsilon(sampled, 1e-5)
    laplace = dp_accounting.LaplaceDpEvent(2.0)
    assert privacy.epsilon(laplace, 1e-12) == pytest.approx(0.5, abs=1e-3)
    assert privacy.advantage(laplace) == pytest.approx(1 - math.exp(-0.25), abs=1e-3)


def test_an_event_is_recognised_as_the_mechanism_it_came_from():
    mechanism = privacy.SampledGaussian(noise_multiplier=1.5, sampling_rate=0.25, steps=7)
    assert privacy.SampledGaussian.of(mechanism.event()) == mechanism
    assert privacy.SampledGaussian.of(dp_accounting.GaussianDpEvent(1.0)) is None
    with pytest.raises(UserError, match="sampling_rate"):
        privacy.SampledGaussian.parse(
            {"noise_multiplier": 1.0, "sampling_rate": 1.5, "steps": 7}, where="mechanism"
        )


def test_importing_privacy_loads_neither_torch_nor_the_accountant():
    program = (
        "import sys, dpbench.privacy as p; p.calibrate(epsilon=1., delta=1e-5, sampling_rate=1., "
        "steps=5); assert not {'torch', 'dp_accounting', 'scipy.stats'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
