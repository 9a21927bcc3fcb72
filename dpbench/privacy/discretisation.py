"""How finely the numeric accountant must cut the privacy loss."""

import math

import numpy as np

# With this fraction of one step's loss deviation epsilon is less than 1e-3, typically 1e-5,
# relatively too large. The caps on the points of one step (a Python loop in dp_accounting) and of
# the composition (an FFT) keep a query below a few seconds.
_RESOLUTION = 1 / 50
_STEP_POINTS = 100_000
_POINTS = 400_000


def loss_interval(*, noise_multiplier: float, sampling_rate: float, steps: int) -> float:
    """Returns the discretisation interval for the privacy loss of a Poisson-subsampled Gaussian.

    A fixed interval is too coarse for the tiny losses of small sampling rates, whose rounding adds
    up over the steps, and needlessly slow for large losses.
    """
    mean, deviation = _step_loss(noise_multiplier, sampling_rate)
    composed = steps * mean + 20 * math.sqrt(steps) * deviation
    largest = math.log(sampling_rate) + (1 / noise_multiplier + 20) / (2 * noise_multiplier)
    return max(_RESOLUTION * deviation, composed / _POINTS, largest / _STEP_POINTS)


def _step_loss(sigma: float, rate: float) -> tuple[float, float]:
    """Returns mean and deviation of one step's privacy loss log(P_in/P_out) for a member."""
    noise = np.linspace(-10, 10, 4001)
    weights = np.exp(-(noise**2) / 2)
    weights /= weights.sum()
    mean = square = 0.0
    for shift, probability in ((0.0, 1 - rate), (1.0, rate)):
        gain = (2 * (shift + sigma * noise) - 1) / (2 * sigma**2)
        loss = np.logaddexp(math.log1p(-rate), math.log(rate) + gain)
        mean += probability * float(weights @ loss)
        square += probability * float(weights @ loss**2)
    return mean, math.sqrt(max(0.0, square - mean**2))
