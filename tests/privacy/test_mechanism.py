import math
import subprocess
import sys

import dp_accounting
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import ndtr

from dpbench import privacy
from dpbench.errors import UserError

FPR = np.concatenate([[0.0], np.logspace(-6, 0, 61)])

# sigma, q, T, and as printed, with losses rounded up on a grid of that width: epsilon(1e-5), B7 and
# B4 of that epsilon.
PRINTED = [
    (1.0, 0.01, 1000, 1e-4, 1.878, 0.1821, 0.7348),
    (0.8, 0.02, 500, 1e-4, 4.693, 0.3183, 0.9818),
    (1.5, 0.1, 300, 1e-4, 6.306, 0.4700, 0.9964),
    (4.0, 0.5, 100, 1e-4, 5.874, 0.4693, 0.9944),
    (0.5, 0.05, 200, 1e-3, 24.84, 0.7805, 1.0),
]


def dp_sgd(sigma, rate, steps):
    return privacy.SampledGaussian(noise_multiplier=sigma, sampling_rate=rate, steps=steps).event()


class Convolution:
    """An independent accountant: the FFT of the remove direction's loss, on a grid of our own.

    Rounding up gives upper bounds on epsilon and delta, rounding down gives lower ones.
    """

    def __init__(self, sigma, rate, steps, *, width, up, size=2**21):
        lowest = math.floor(math.log1p(-rate) / width)
        highest = math.ceil((math.log(rate) + 1 / (2 * sigma**2) + 9 / sigma) / width)
        edges = width * np.arange(lowest + 1, highest)
        # The output at which the loss log(1 - q + q e^((2x - 1) / (2 sigma^2))) is at an edge.
        outputs = 0.5 + sigma**2 * np.log((np.expm1(edges) + rate) / rate)
        below = (1 - rate) * ndtr(outputs / sigma) + rate * ndtr((outputs - 1) / sigma)
        cells = np.arange(lowest, highest) + up
        masses = np.diff(below, prepend=0.0, append=1.0)
        grid = np.bincount(cells % size, weights=masses, minlength=size)
        composed = np.fft.irfft(np.fft.rfft(grid) ** steps, size)
        mean = round(steps * float(cells @ masses))
        position = mean + (np.arange(size) - mean + size // 2) % size - size // 2
        shift = int(np.argmin(position))
        losses, masses = width * np.roll(position, -shift), np.roll(composed, -shift)
        self.losses, masses = losses[losses > 0], masses[losses > 0]
        tails = masses, masses * np.exp(-self.losses)
        self.upper, self.lower = (np.append(np.cumsum(tail[::-1])[::-1], 0) for tail in tails)

    def delta(self, epsilon):
        first = np.searchsorted(self.losses, epsilon, side="right")
        return float(self.upper[first] - np.exp(epsilon) * self.lower[first])

    def epsilon(self, delta):
        return brentq(lambda epsilon: self.delta(epsilon) - delta, 0.0, 60.0, xtol=1e-9)


@pytest.mark.parametrize(("sigma", "rate", "steps", "width", "epsilon", "advantage", "b4"), PRINTED)
def test_published_dp_sgd_table(sigma, rate, steps, width, epsilon, advantage, b4):
    event = dp_sgd(sigma, rate, steps)
    found, found_advantage = privacy.epsilon(event, 1e-5), privacy.advantage(event)
    assert 0.95 * epsilon < found < epsilon
    assert 0.85 * advantage < found_advantage < advantage
    assert privacy.advantage_epsilon(found, 1e-5) <= b4 + 5e-5
    # The printed numbers come out if the losses are rounded up on the printed grid.
    coarse = Convolution(sigma, rate, steps, width=width, up=True, size=2**19)
    half = 0.5 * 10 ** (-3 if epsilon < 10 else -2)
    assert coarse.epsilon(1e-5) == pytest.approx(epsilon, abs=1.1 * half)
    assert coarse.delta(0.0) == pytest.approx(advantage, abs=5.5e-5)
    assert privacy.advantage_epsilon(coarse.epsilon(1e-5), 1e-5) == pytest.approx(b4, abs=5.5e-5)


WIDTHS = (8e-6, 1.6e-5, 2e-5, 2e-5, 5e-5)


@pytest.mark.parametrize(
    ("sigma", "rate", "steps", "width"),
    [(*row[:3], width) for row, width in zip(PRINTED, WIDTHS, strict=True)],
)
def test_the_accountant_is_inside_an_independent_bracket(sigma, rate, steps, width):
    event = dp_sgd(sigma, rate, steps)
    low, high = (Convolution(sigma, rate, steps, width=width, up=up) for up in (False, True))
    for delta in (1e-5, 1e-3):
        found = privacy.epsilon(event, delta)
        bracket = low.epsilon(delta), high.epsilon(delta)
        assert bracket[0] - 1e-6 < found < bracket[1] + 1e-6
        assert bracket[1] - bracket[0] < 1.1 * steps * width
    for epsilon in (0.0, 0.5, 2.0):
        found = privacy.delta(event, epsilon)
        assert low.delta(epsilon) - 1e-9 < found < high.delta(epsilon) + 1e-9


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


@settings(max_examples=6)
@given(st.floats(0.7, 6), st.floats(0.05, 0.9), st.integers(1, 60), st.floats(-7, -2))
def test_the_bounds_are_ordered(sigma, rate, steps, log_delta):
    event, small = dp_sgd(sigma, rate, steps), 10**log_delta
    tightest = privacy.advantage(event)
    points = [(privacy.epsilon(event, small), small)]
    points += [(epsilon, privacy.delta(event, epsilon)) for epsilon in (0.0, 0.3, 3.0)]
    for epsilon, delta in points:
        # B7 is below B4 at every point of the profile, and is B4 at its first.
        middle = privacy.advantage_epsilon(epsilon, delta)
        assert tightest <= middle + 1e-12
        assert middle <= privacy.advantage_erlingsson(epsilon, delta) + 1e-12
        # B2 speaks of pure epsilon-DP: it is above B4 without delta, and delta is added to both.
        pure = privacy.advantage_epsilon(epsilon)
        assert pure <= privacy.advantage_yeom(epsilon) + 1e-12
        assert middle <= privacy.advantage_yeom(epsilon) + delta + 1e-12
        curve = privacy.trade_off(event, FPR)
        assert np.all(curve <= privacy.tpr_epsilon(FPR, epsilon, delta) + 1e-6)
    assert privacy.advantage_epsilon(0.0, tightest) == pytest.approx(tightest)


def test_b2_alone_does_not_bound_a_mechanism_with_delta():
    event = dp_sgd(1.0, 0.05, 200)
    delta = privacy.advantage(event)
    assert privacy.epsilon(event, delta) < 1e-9
    assert privacy.advantage_yeom(0.0) == 0 < delta


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
