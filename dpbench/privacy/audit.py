"""Lower bounds on epsilon from the errors of an attack: what an audit may claim.

Limits and counts must come from data other than those on which the attack's threshold was chosen.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincinv, ndtri


def clopper_pearson_upper(
    errors: ArrayLike, trials: ArrayLike, alpha: float = 0.025
) -> NDArray[np.float64]:
    """Returns the exact one-sided upper limit, at confidence 1 - alpha, of a binomial rate."""
    k, n = np.asarray(errors, dtype=float), np.asarray(trials, dtype=float)
    remaining = np.maximum(n - k, 1.0)
    limit: NDArray[np.float64] = np.where(k < n, betaincinv(k + 1, remaining, 1 - alpha), 1.0)
    return limit


def epsilon_from_rates(*, fpr_upper: float, fnr_upper: float, delta: float = 0.0) -> float:
    """Returns the largest epsilon that the two error rates refute; 0 if they refute none.

    Kairouz et al. 2015: a mechanism with (epsilon, delta)-DP has FPR + e^eps FNR >= 1 - delta and
    the same with the rates exchanged. With 97.5 % limits on both rates the bound holds at 95 %.
    """
    small, large = sorted((fpr_upper, fnr_upper))
    if small + large >= 1 - delta:
        return 0.0
    return math.log((1 - delta - large) / small) if small > 0 else math.inf


def mu_from_rates(*, fpr_upper: float, fnr_upper: float) -> float:
    """Returns the largest mu of a Gaussian mechanism that the two error rates refute; 0 if none.

    Nasr et al. 2023: Phi^-1(1 - FPR) - Phi^-1(FNR). Tighter than `epsilon_from_rates`, and a bound
    only if the mechanism is known to be Gaussian.
    """
    return max(0.0, float(ndtri(1 - fpr_upper) - ndtri(fnr_upper)))


def epsilon_one_run(
    *, canaries: int, guesses: int, correct: int, delta: float = 0.0, alpha: float = 0.05
) -> float:
    """Returns the 1 - alpha lower bound on epsilon from a single model. Steinke et al. 2023.

    Args:
        canaries: Examples whose membership was decided by independent fair coins.
        guesses: How many of them the auditor guessed; fixed before looking at the scores.
        correct: How many guesses were right.
        delta: The delta at which epsilon is bounded.
        alpha: Error probability.
    """
    low, high = 0.0, 50.0
    if one_run_p_value(low, canaries, guesses, correct, delta) >= alpha:
        return 0.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        refuted = one_run_p_value(middle, canaries, guesses, correct, delta) < alpha
        low, high = (middle, high) if refuted else (low, middle)
    return low


def one_run_p_value(
    epsilon: float, canaries: int, guesses: int, correct: int, delta: float
) -> float:
    """Returns the probability, under (epsilon, delta)-DP, of that many right guesses."""
    if correct == 0:
        return 1.0
    rate = 1 / (1 + math.exp(-epsilon))
    hits = np.arange(correct + 1, dtype=float)
    # P[Binomial(guesses, rate) >= hits].
    tail = np.ones(correct + 1)
    tail[1:] = betainc(hits[1:], guesses - hits[1:] + 1, rate)
    failures = np.arange(1, correct + 1)
    slack = np.max((tail[correct - failures] - tail[correct]) / failures)
    return min(1.0, float(tail[correct] + 2 * canaries * delta * slack))
