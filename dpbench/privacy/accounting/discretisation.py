"""The discretisation interval of the privacy loss in the numeric accountant."""

import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri_exp

from dpbench.arrays import Floats
from dpbench.privacy.accounting.adjacency import Adjacency

# dp_accounting takes more than a second to import, so functions import it when they first need it.
if TYPE_CHECKING:
    from dp_accounting import DpEvent

# With 1/50 of one step's loss deviation epsilon is less than 1e-3, typically 1e-5, relatively too
# large. The loss of Laplace noise ends in an atom, which rounding moves by as much as an interval.
_GAUSSIAN_RESOLUTION = 1 / 50
_LAPLACE_RESOLUTION = 1 / 1000
# With little noise, steps that skipped the example all lose log(1 - q), far below the deviation.
_SKIPPED_RESOLUTION = 1 / 10
# The caps on the points of one step (a Python loop in dp_accounting) and of the composition (an
# FFT) keep a query below a few seconds.
_STEP_POINTS = 100_000
_POINTS = 400_000
# dp_accounting's own interval, for events whose loss is not known here.
_DEFAULT_INTERVAL = 1e-4
# Beyond this, e^gain overflows and 1 - q is nothing beside q e^gain.
_LARGE_GAIN = 500.0
# dp_accounting drops a noise of this log-probability on either side: 10 standard deviations.
LOG_DROPPED = -50.0


class _StepLoss(NamedTuple):
    """The privacy loss of one step: moments, the largest that counts, and the interval it needs."""

    mean: float
    deviation: float
    largest: float
    interval: float


def loss_interval(
    event: "DpEvent", adjacency: Adjacency = "add_remove", *, log_dropped: float = LOG_DROPPED
) -> float:
    """Returns the discretisation interval for the privacy loss of an event.

    A fixed interval is too coarse for the tiny losses of small sampling rates, whose rounding adds
    up over the steps, and exhausts the memory on the large losses of little noise. Gaussian and
    Laplace mechanisms, Poisson samples and compositions of them are looked into; other events get
    dp_accounting's default. The interval is one for the whole event, so that a composition of
    mechanisms with hardly any and with much noise is bounded more loosely than either alone.

    Args:
        event: The mechanism.
        adjacency: The relation of the two data sets.
        log_dropped: Log-probability of the Gaussian noise on either side that is left out.
    """
    reach = -float(ndtri_exp(log_dropped))
    losses = [(count, _step_loss(step, adjacency, reach)) for count, step in components(event)]
    known = [(count, loss) for count, loss in losses if loss is not None]
    if not known:
        return _DEFAULT_INTERVAL
    # The rounding errors of independent steps add up in the square.
    fine = math.sqrt(
        sum(count * loss.interval**2 for count, loss in known) / sum(count for count, _ in known)
    )
    mean = sum(count * loss.mean for count, loss in known)
    deviation = math.sqrt(sum(count * loss.deviation**2 for count, loss in known))
    largest = max(loss.largest for _, loss in known)
    composed = min(mean + 20 * deviation, sum(count * loss.largest for count, loss in known))
    return max(fine, composed / _POINTS, largest / _STEP_POINTS)


def components(event: "DpEvent", count: int = 1) -> "Iterator[tuple[int, DpEvent]]":
    """Yields the mechanisms that an event composes, and how often each is run."""
    import dp_accounting

    if isinstance(event, dp_accounting.SelfComposedDpEvent):
        yield from components(event.event, event.count * count)
    elif isinstance(event, dp_accounting.ComposedDpEvent):
        for part in event.events:
            yield from components(part, count)
    elif isinstance(event, dp_accounting.GaussianDpEvent):
        # Full-batch Gaussians are composed in closed form, before their loss is cut.
        yield 1, dp_accounting.GaussianDpEvent(event.noise_multiplier / math.sqrt(count))
    else:
        yield count, event


def sampled_loss(gain: ArrayLike, rate: float) -> Floats:
    """Returns log(1 - q + q e^gain), the loss of a step at rate q; gain is the noise's log-ratio.

    Its relative error is small for the smallest q and gains. log(q) + gain, its limit for large
    gains, is negative at q = 1e-6 and a gain of 10, where the loss is 0.02.
    """
    gains = np.asarray(gain, dtype=np.float64)
    if rate == 1:
        return gains
    small = np.log1p(rate * np.expm1(np.minimum(gains, _LARGE_GAIN)))
    return np.where(gains < _LARGE_GAIN, small, math.log(rate) + gains)


def _step_loss(step: "DpEvent", adjacency: Adjacency, reach: float) -> _StepLoss | None:
    """Returns the loss of one step, or None if it is not known here."""
    import dp_accounting

    rate = 1.0
    if isinstance(step, dp_accounting.PoissonSampledDpEvent):
        rate, step = step.sampling_probability, step.event
    scale = getattr(step, "noise_multiplier", 0.0)
    if not (scale > 0 and rate > 0):
        return None
    if isinstance(step, dp_accounting.GaussianDpEvent):
        noise = np.linspace(-10, 10, 4001)
        mean, deviation = _moments(
            lambda output: (2 * output - 1) / (2 * scale**2),
            scale * noise,
            density=np.exp(-(noise**2) / 2),
            rate=rate,
            adjacency=adjacency,
        )
        largest = _largest((1 / scale + 2 * reach) / (2 * scale), rate, adjacency)
        interval = min(_GAUSSIAN_RESOLUTION * deviation, _SKIPPED_RESOLUTION * _skipped(rate))
        return _StepLoss(mean, deviation, largest, interval)
    if isinstance(step, dp_accounting.LaplaceDpEvent):
        noise = np.linspace(-40, 40, 4001)
        mean, deviation = _moments(
            lambda output: (np.abs(output) - np.abs(output - 1)) / scale,
            scale * noise,
            density=np.exp(-np.abs(noise)),
            rate=rate,
            adjacency=adjacency,
        )
        largest = _largest(1 / scale, rate, adjacency)
        return _StepLoss(mean, deviation, largest, _LAPLACE_RESOLUTION * deviation)
    return None


def _moments(
    gain: Callable[[Floats], Floats],
    noise: Floats,
    *,
    density: Floats,
    rate: float,
    adjacency: Adjacency,
) -> tuple[float, float]:
    """Returns mean and deviation of the loss log(P/Q) under P, by quadrature over the noise.

    P is the output of a step that sees an example at 1 with a probability of `rate`, Q that of one
    without the example, or with another at -1. `gain` is the log-ratio of the noise at 1 and at 0.
    """
    mean = square = 0.0
    for shift, probability in ((0.0, 1 - rate), (1.0, rate)):
        output = shift + noise
        loss = sampled_loss(gain(output), rate)
        if adjacency == "replace_one":
            loss = loss - sampled_loss(gain(-output), rate)
        mean += probability * float(np.average(loss, weights=density))
        square += probability * float(np.average(loss**2, weights=density))
    return mean, math.sqrt(max(0.0, square - mean**2))


def _largest(gain: float, rate: float, adjacency: Adjacency) -> float:
    """Returns the loss of the largest gain; under replace-one the other example's is lost too."""
    largest = float(sampled_loss(gain, rate))
    return largest - float(sampled_loss(-gain, rate)) if adjacency == "replace_one" else largest


def _skipped(rate: float) -> float:
    """Returns how much a step that surely skipped the example loses, -log(1 - rate)."""
    return -math.log1p(-rate) if rate < 1 else math.inf
