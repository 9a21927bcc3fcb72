"""Audits of one training with all its canaries.

`dpbench.metrics.one_run_limits` evaluates the same theorem for arrays of counts, which may be
fractions. It continues the binomial tail between integers and rounds limits down, so the two agree
to 1e-7 only. Here counts are integers, and the maximum is taken over all windows.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import brentq
from scipy.special import bdtrc, betaincinv, gammaln

from dpbench.arrays import Floats
from dpbench.privacy.audits.audit_result import AuditResult, OneRunGuesses, error_probability
from dpbench.privacy.audits.canaries import FAIR, Guesses, OneRun, default_guesses, require_run

METHOD = "one-run"

_TOLERANCE = 1e-9


def audit_one_run(
    run: OneRun,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    guesses: Sequence[Guesses] | None = None,
    seed: int = 0,
) -> AuditResult:
    """Returns a lower bound on epsilon from one training. Steinke et al. 2023.

    With several numbers of guesses, each is tried at its share of the error probability, and the
    largest bound counts.

    Args:
        run: The canaries.
        delta: The delta at which epsilon is bounded.
        confidence: Probability that the bound holds.
        guesses: Numbers of guesses, fixed without looking at the bits; by default
            `default_guesses`.
        seed: Orders equal scores.

    Raises:
        TypeError: The run is not a `OneRun`.
        UserError: Confidence, delta or a number of guesses is out of range.
    """
    alpha = error_probability(confidence, delta, method=METHOD)
    canaries = require_run(run, method=METHOD)
    chosen = guesses or _chosen(canaries.scores.size, delta, alpha)
    tried = [
        (_epsilon(counts, delta, alpha / len(chosen)), threshold, counts)
        for threshold, counts in canaries.guess(chosen, seed)
    ]
    epsilon, threshold, counts = max(tried, key=lambda one: one[0])
    return AuditResult(
        epsilon=epsilon,
        method=METHOD,
        confidence=confidence,
        delta=delta,
        threshold=threshold,
        counts=counts,
        assumes=f"{FAIR} ({run.origin})",
    )


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
    if correct == 0:
        return 0.0
    # Without delta: the rate at which so many right guesses or more have probability alpha.
    rate = float(betaincinv(correct, guesses - correct + 1, alpha))
    high = math.log(rate) - math.log1p(-rate)
    if high <= 0 or delta == 0:
        return max(0.0, high)

    def excess(epsilon: float) -> float:
        return one_run_p_value(epsilon, canaries, guesses, correct, delta) - alpha

    # Delta only raises the p-value, so the root is at most `high`, and usually just below it. The
    # bracket therefore grows downwards from there.
    low, step = high, _TOLERANCE
    while low > 0 and excess(low) >= 0:
        high, low, step = low, max(0.0, low - step), 2 * max(step, 1e-3)
    if excess(low) >= 0:
        return 0.0
    return low if low == high else float(brentq(excess, low, high, xtol=_TOLERANCE))


def one_run_p_value(
    epsilon: float, canaries: int, guesses: int, correct: int, delta: float
) -> float:
    """Returns the probability, under (epsilon, delta)-DP, of that many right guesses.

    Steinke et al. 2023, P[Bin(guesses, rate) >= correct], plus 2 m delta times the
    largest P[correct - i <= Bin(guesses, rate) < correct] / i.
    """
    if correct == 0:
        return 1.0
    tail = float(bdtrc(correct - 1, guesses, 1 / (1 + math.exp(-epsilon))))
    if delta == 0:
        return tail
    # log p is -log(1 + e^-eps), and log(1 - p) is log p - eps: no 1 - p that cancels.
    fewer = np.arange(correct - 1, -1, -1)
    log_right = -math.log1p(math.exp(-epsilon))
    log_mass = _log_choose(guesses, correct) + fewer * log_right
    log_mass += (guesses - fewer) * (log_right - epsilon)
    # Counted down from correct - 1, the i-th partial sum is the mass of the window of width i.
    slack = np.max(np.cumsum(np.exp(log_mass)) / np.arange(1, correct + 1))
    return min(1.0, float(tail + 2 * canaries * delta * slack))


@functools.lru_cache(maxsize=128)
def _chosen(canaries: int, delta: float, alpha: float) -> tuple[Guesses, ...]:
    """Returns numbers of guesses that each refute epsilon = 1 if all guesses are right."""

    def proves(guesses: int, level: float) -> bool:
        return one_run_p_value(1.0, canaries, guesses, guesses, delta) < level

    return default_guesses(canaries, alpha, proves=proves)


def _epsilon(counts: OneRunGuesses, delta: float, alpha: float) -> float:
    return epsilon_one_run(**counts._asdict(), delta=delta, alpha=alpha)


# A root search evaluates the same counts at many epsilons.
@functools.lru_cache(maxsize=32)
def _log_choose(guesses: int, correct: int) -> Floats:
    """Returns log binomial(guesses, j) for j = correct - 1, ..., 0."""
    fewer = np.arange(correct - 1, -1, -1)
    chosen: Floats = gammaln(guesses + 1) - gammaln(fewer + 1) - gammaln(guesses - fewer + 1)
    return chosen
