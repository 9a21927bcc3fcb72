"""The tail of a composed privacy loss, as exact at a delta of 1e-300 as at one of 1e-3.

An FFT errs by about 1e-16 of the whole mass at every point, and each composition adds to that: of a
tail of 1e-13 nothing is left. So the losses are tilted first, as for Cramer's theorem: with masses
P(l) e^(order l) / e^K(order) the tail is where most of the mass is, and rounding is small against
it. With g(x) = e^(-order x) (1 - e^-x) for x > 0, and 0 elsewhere,

    delta(epsilon) = E_P[(1 - e^(epsilon - L))+] = e^(K - order epsilon) E_tilted[g(L - epsilon)].

K is the sum of the steps' log moments, and the largest g is order^order / (1 + order)^(1 + order),
so replacing the expectation by it is the Chernoff bound, which is the Renyi accountant's.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft
from scipy.optimize import brentq, minimize_scalar

from dpbench.arrays import Floats

# Relative rounding error of one operation on doubles.
_UNIT = 2.0**-53
# The FFT and the powers of its coefficients are allowed this many such errors for each composition
# and each level of the FFT. Measured: less than 1.
_UNITS = 8
# Bound on the tilted mass outside the window of the FFT; it is added to the result.
_OUTSIDE = 1e-14
# Smaller orders tilt nothing; larger ones leave nothing but the largest loss.
_ORDERS = (1e-6, 1e14)


def rounding(compositions: float, points: float) -> float:
    """Returns a bound on the error of a convolution by FFT, in units of the whole mass."""
    return _UNITS * _UNIT * (compositions + math.log2(points))


class StepLoss(NamedTuple):
    """The discretised loss of one step in one direction, rounded up.

    Attributes:
        times: Number of repetitions of the step.
        lowest: The lowest loss, in intervals.
        masses: Of the losses from there on, shape `(losses,)`.
        infinite: Mass of an infinite loss.
    """

    times: int
    lowest: int
    masses: Floats
    infinite: float


class _Tilted(NamedTuple):
    """A composition whose tilted masses are around the losses that decide.

    Attributes:
        order: The tilt.
        log_moment: K, with an allowance for its rounding.
        losses: Ascending, shape `(window,)`.
        masses: Tilted masses, shape `(window,)`, which an FFT may leave below 0.
        allowance: Bound on the tilted mass that may be misplaced.
    """

    order: float
    log_moment: float
    losses: Floats
    masses: Floats
    allowance: float

    def log_delta(self, epsilon: float) -> float:
        """Returns an upper bound on the log of delta, without the mass of infinite losses."""
        above = self.losses > epsilon
        excess = self.losses[above] - epsilon
        weight = np.exp(-self.order * excess) * -np.expm1(-excess)
        found = max(0.0, float(self.masses[above] @ weight))
        found += self.allowance * math.exp(_log_peak(self.order))
        return self.log_moment - self.order * epsilon + math.log(found)


@dataclass(frozen=True)
class Tail:
    """Composed steps in one direction, all discretised with one interval.

    Attributes:
        steps: The composed steps.
        interval: Width of the discretisation.
    """

    steps: tuple[StepLoss, ...]
    interval: float

    @functools.cached_property
    def infinite(self) -> float:
        """Mass of an infinite loss of the whole, a lower limit of delta."""
        return -math.expm1(sum(s.times * math.log1p(-s.infinite) for s in self.steps))

    def epsilon(self, delta: float) -> float:
        """Returns an upper bound on the smallest epsilon at that delta; inf if none is finite."""
        if delta <= self.infinite:
            return math.inf
        goal = math.log(delta - self.infinite)
        order, chernoff = _least(
            lambda order: (self._log_moment(order) + _log_peak(order) - goal) / order
        )
        tilted = self._tilted(order)
        # At `high`, the Chernoff bound is e times below the goal: more than the rounding allowance.
        low, high = 0.0, max(0.0, chernoff) + 1 / order
        if tilted.log_delta(low) <= goal:
            return 0.0
        tolerance = 1e-10 * high
        root = brentq(lambda epsilon: tilted.log_delta(epsilon) - goal, low, high, xtol=tolerance)
        return float(root) + tolerance

    def delta(self, epsilon: float) -> float:
        """Returns an upper bound on the smallest delta at that epsilon."""
        order, _ = _least(
            lambda order: self._log_moment(order) + _log_peak(order) - order * epsilon
        )
        finite = math.exp(min(0.0, self._tilted(order).log_delta(epsilon)))
        return min(1.0, self.infinite + finite)

    @functools.cached_property
    def _logs(self) -> tuple[tuple[Floats, Floats], ...]:
        """Losses and log masses of each step."""
        with np.errstate(divide="ignore"):
            return tuple(
                (self._places(s.lowest, s.masses.size), np.log(s.masses, dtype=np.float64))
                for s in self.steps
            )

    def _places(self, lowest: int, size: int) -> Floats:
        """Returns the losses of so many masses from the lowest one on."""
        return np.asarray(lowest + np.arange(size), dtype=np.float64) * self.interval

    def _log_moment(self, order: float) -> float:
        return sum(
            step.times * _log_sum(masses + order * losses)
            for step, (losses, masses) in zip(self.steps, self._logs, strict=True)
        )

    def _tilted(self, order: float) -> _Tilted:
        parts, log_moment, slack = [], 0.0, 0.0
        for step, (losses, masses) in zip(self.steps, self._logs, strict=True):
            exponents = masses + order * losses
            moment = _log_sum(exponents)
            part = np.exp(exponents - moment)
            parts.append(part)
            log_moment += step.times * moment
            # The exponents are sums of two large numbers, rounded in each step alike.
            seen = part > 0
            size = float(part[seen] @ (np.abs(masses[seen]) + order * np.abs(losses[seen])))
            slack += _UNITS * _UNIT * step.times * (1 + size)
        low, high = self._window(parts)
        size = next_fast_len(max(high - low + 1, *(part.size for part in parts)), real=True)
        spectrum = np.ones(size // 2 + 1, dtype=np.complex128)
        for step, part in zip(self.steps, parts, strict=True):
            spectrum *= rfft(part, size) ** step.times
        masses = np.roll(irfft(spectrum, size), -(low % size))[: high - low + 1]
        start = sum(step.times * step.lowest for step in self.steps) + low
        return _Tilted(
            order=order,
            log_moment=log_moment + slack,
            losses=self._places(start, masses.size),
            masses=masses,
            allowance=2 * _OUTSIDE + rounding(sum(step.times for step in self.steps), size),
        )

    def _window(self, parts: list[Floats]) -> tuple[int, int]:
        """Returns the lowest and highest sum of indices, by Chernoff bounds on the tilted sum."""
        places = [np.arange(part.size) for part in parts]
        counts = [step.times for step in self.steps]
        with np.errstate(divide="ignore"):
            logs = [np.log(part) for part in parts]
        means = [float(part @ place) for part, place in zip(parts, places, strict=True)]
        mean = sum(count * one for count, one in zip(counts, means, strict=True))

        def reach(sign: int) -> float:
            def bound(pull: float) -> float:
                moments = (
                    count * _log_sum(log + sign * pull * (place - one))
                    for log, place, one, count in zip(logs, places, means, counts, strict=True)
                )
                return (sum(moments) - math.log(_OUTSIDE)) / pull

            return _least(bound, (1e-9, 1e2))[1]

        largest = sum(count * (part.size - 1) for count, part in zip(counts, parts, strict=True))
        low, high = math.floor(mean - reach(-1)), math.ceil(mean + reach(1))
        return max(low, 0), min(high, largest)


def _log_sum(exponents: Floats) -> float:
    """Returns the log of the sum of e^exponents."""
    largest = float(exponents.max())
    return largest + math.log(float(np.exp(exponents - largest).sum()))


def _log_peak(order: float) -> float:
    """Returns the log of the largest e^(-order x) (1 - e^-x)."""
    return -order * math.log1p(1 / order) - math.log1p(order)


def _least(
    bound: Callable[[float], float], orders: tuple[float, float] = _ORDERS
) -> tuple[float, float]:
    """Returns where a quasi-convex function of a positive number is least, and its value."""
    found = minimize_scalar(
        lambda log_order: bound(math.exp(log_order)),
        bounds=(math.log(orders[0]), math.log(orders[1])),
        method="bounded",
        options={"xatol": 1e-4},
    )
    return math.exp(found.x), float(found.fun)
