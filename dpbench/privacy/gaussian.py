"""The Gaussian mechanism in closed form: the exact accountant of full-batch DP-SGD.

`mu` is the distance between the two output distributions in standard deviations: T full-batch
steps with noise multiplier sigma have mu = sqrt(T) / sigma.
"""

import math
from collections.abc import Callable

from scipy.special import log_ndtr

_HALVINGS = 200


def delta_gaussian(epsilon: float, mu: float) -> float:
    """Returns the smallest delta at which the mechanism is (epsilon, delta)-DP.

    Balle & Wang 2018, Theorem 8: Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu), here in the
    logarithm, so that epsilon may be in the thousands.
    """
    if mu == 0 or epsilon == math.inf:
        return 0.0
    if mu == math.inf:
        return 1.0
    upper = float(log_ndtr(mu / 2 - epsilon / mu))
    lower = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return max(0.0, math.exp(upper) * -math.expm1(lower - upper))


def epsilon_gaussian(delta: float, mu: float) -> float:
    """Returns the smallest epsilon at which the mechanism is (epsilon, delta)-DP."""
    if delta_gaussian(0.0, mu) <= delta:
        return 0.0
    if delta <= 0 or mu == math.inf:
        return math.inf
    return _boundary(lambda epsilon: delta_gaussian(epsilon, mu) > delta)[1]


def mu_gaussian(epsilon: float, delta: float) -> float:
    """Returns the largest mu at which the mechanism is (epsilon, delta)-DP."""
    return _boundary(lambda mu: delta_gaussian(epsilon, mu) <= delta)[0]


def _boundary(holds: Callable[[float], bool]) -> tuple[float, float]:
    """Returns where a condition stops to hold on (0, inf): its last true and first false point."""
    low, high = 0.0, 1.0
    while holds(high):
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high
