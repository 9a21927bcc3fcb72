"""The Gaussian mechanism in closed form: the exact accountant of full-batch DP-SGD.

`mu` is the distance between the two output distributions in standard deviations: T full-batch
steps with noise multiplier sigma have mu = sqrt(T) / sigma.
"""

import math
from collections.abc import Callable

from scipy.special import erfcx, log_ndtr

from dpbench.privacy.accounting.ranges import in_range

_HALVINGS = 200
_ROUNDING = 2.0**-51


def delta_gaussian(epsilon: float, mu: float) -> float:
    """Returns the smallest delta at which the mechanism is (epsilon, delta)-DP.

    Balle & Wang 2018, Theorem 8: Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu).

    Raises:
        UserError: Epsilon or mu is negative or not a number.
    """
    return math.exp(_log_delta(float(in_range("epsilon", epsilon)), float(in_range("mu", mu))))


def epsilon_gaussian(delta: float, mu: float) -> float:
    """Returns the smallest epsilon at which the mechanism is (epsilon, delta)-DP.

    Raises:
        UserError: Delta is outside of [0, 1], or mu is negative or not a number.
    """
    delta, mu = float(in_range("delta", delta)), float(in_range("mu", mu))
    if delta == 0:
        return math.inf if mu > 0 else 0.0
    if delta == 1:
        return 0.0
    goal = _log_below(delta)
    if _log_delta(0.0, mu) <= goal:
        return 0.0
    if mu == math.inf:
        return math.inf
    return _boundary(lambda epsilon: _log_delta(epsilon, mu) > goal)[1]


def mu_gaussian(epsilon: float, delta: float) -> float:
    """Returns the largest mu at which the mechanism is (epsilon, delta)-DP.

    Raises:
        UserError: Epsilon is negative or not a number, or delta is outside of [0, 1].
    """
    epsilon, delta = float(in_range("epsilon", epsilon)), float(in_range("delta", delta))
    if epsilon == math.inf or delta == 1:
        return math.inf
    if delta == 0:
        return 0.0
    goal = _log_below(delta)
    return _boundary(lambda mu: _log_delta(epsilon, mu) <= goal)[0]


def _log_below(delta: float) -> float:
    """Returns the logarithm, minus a bound on the rounding of it and of its exponential."""
    log = math.log(delta)
    return log - _ROUNDING * (1 - log)


def _log_delta(epsilon: float, mu: float) -> float:
    """Returns the logarithm of delta: epsilon may be in the thousands, and delta any double."""
    if mu == 0 or epsilon == math.inf:
        return -math.inf
    if mu == math.inf:
        return 0.0
    at = mu / 2 - epsilon / mu
    if at == -math.inf:
        return -math.inf  # epsilon / mu is no double any more
    upper = float(log_ndtr(at))
    if at <= 0:
        # The squares in the two logarithms cancel with epsilon, exactly so on paper.
        scaled = -at / math.sqrt(2)
        shrunk = math.log(float(erfcx(scaled + mu / math.sqrt(2)) / erfcx(scaled)))
    else:
        shrunk = epsilon + float(log_ndtr(at - mu)) - upper
    # Rounding may exchange the two where they are equal to the last digit.
    return upper + math.log(-math.expm1(shrunk)) if shrunk < 0 else -math.inf


def _boundary(holds: Callable[[float], bool]) -> tuple[float, float]:
    """Returns the last point on (0, inf) at which a condition holds, and the next double."""
    low, high = 0.0, 1.0
    while holds(high):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high
