"""One-run audits against a whole trade-off curve, which knows more than one (epsilon, delta)."""

import functools
from collections.abc import Callable, Sequence

from scipy.special import ndtr, ndtri

from dpbench.privacy.accounting.gaussian import epsilon_gaussian
from dpbench.privacy.audits.audit_result import AuditResult, OneRunGuesses, error_probability
from dpbench.privacy.audits.canaries import FAIR, Guesses, OneRun, default_guesses, require_run
from dpbench.privacy.audits.gaussian_audit import GAUSSIAN, require_positive

METHOD = "one-run f-DP, Gaussian"

_LARGEST_MU = 40.0
_TOLERANCE = 1e-6


def audit_one_run_gaussian(
    run: OneRun,
    *,
    delta: float,
    confidence: float = 0.95,
    guesses: Sequence[Guesses] | None = None,
    seed: int = 0,
) -> AuditResult:
    """Returns a lower bound on the epsilon of a Gaussian mechanism from one training.

    Mahloujifar et al. 2025 (arXiv 2410.22235), Algorithm 3, with Gaussian trade-off curves: the
    largest mu that the guesses refute, and its epsilon at delta. Nothing is lost to delta, but the
    bound holds only for full-batch Gaussian mechanisms. For others see `refutes_curve`.

    Args:
        run: The canaries.
        delta: The delta at which epsilon is bounded, above 0.
        confidence: Probability that the bound holds.
        guesses: Numbers of guesses, fixed without looking at the bits; by default
            `default_guesses`.
        seed: Orders equal scores.

    Raises:
        TypeError: The run is not a `OneRun`.
        UserError: Confidence, delta or a number of guesses is out of range.
    """
    alpha = error_probability(confidence, delta, method=METHOD)
    require_positive(delta, method=METHOD)
    canaries = require_run(run, method=METHOD)
    chosen = guesses or _chosen(canaries.scores.size, alpha)
    tried = [
        (mu_one_run(counts, alpha / len(chosen)), threshold, counts)
        for threshold, counts in canaries.guess(chosen, seed)
    ]
    mu, threshold, counts = max(tried, key=lambda one: one[0])
    return AuditResult(
        epsilon=epsilon_gaussian(delta, mu),
        method=METHOD,
        confidence=confidence,
        delta=delta,
        threshold=threshold,
        counts=counts,
        assumes=f"{GAUSSIAN}; {FAIR} ({run.origin})",
    )


def mu_one_run(counts: OneRunGuesses, alpha: float = 0.05) -> float:
    """Returns the largest mu of a Gaussian mechanism that the guesses refute; 0 if none."""

    def refuted(mu: float) -> bool:
        return _refutes_gaussian(mu, counts, alpha)

    low, high = 0.0, 1.0
    while high < _LARGEST_MU and refuted(high):
        low, high = high, 2 * high
    while high - low > _TOLERANCE:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def refutes_curve(
    least_fpr: Callable[[float], float], counts: OneRunGuesses, alpha: float = 0.05
) -> bool:
    """Tells whether that many right guesses have a probability below alpha under a trade-off curve.

    Mahloujifar et al. 2025, Algorithm 3. Let p_j be the probability of j right guesses. Flipping
    the bit of a canary turns a right guess on it into a wrong one, so the curve ties what has j or
    more right guesses to what has j - 1 or more: with right_j = sum_{i >= j} i p_i / m and
    wrong_j = sum_{i >= j} (r - i) p_i / m, it demands wrong_{j-1} >= least_fpr(right_j). Starting
    from p_correct = alpha, the least p_j that satisfy this are found one by one; if they sum to
    more than 1, probability alpha was too much.

    Args:
        least_fpr: The curve: for a TPR, the least FPR of any test of one bit; increasing, convex,
            and the same with members and non-members exchanged. For epsilon-DP it is
            `max(tpr * e^-eps, 1 - (1 - tpr) * e^eps)`.
        counts: Canaries, guesses and right guesses; the number of guesses was fixed beforehand.
        alpha: Error probability.
    """
    canaries, guesses, correct = counts
    right, wrong = alpha * correct / canaries, alpha * (guesses - correct) / canaries
    whole = guesses / canaries
    for fewer in range(correct - 1, -1, -1):
        needed = least_fpr(min(right, 1.0))
        # Here p_fewer = 0 satisfies the curve, and so does 0 for every smaller count, where nothing
        # changes any more: the probabilities found so far are enough.
        if needed <= wrong:
            return False
        # A probability p of `fewer` right guesses adds p (r - fewer) / m to `wrong`, which makes it
        # what is needed, and p fewer / m to `right`.
        right += fewer / (guesses - fewer) * (needed - wrong)
        wrong = needed
        # right + wrong is r / m times the sum of all p_j.
        if right + wrong > whole:
            return True
    return False


def _refutes_gaussian(mu: float, counts: OneRunGuesses, alpha: float) -> bool:
    return refutes_curve(lambda tpr: float(ndtr(ndtri(tpr) - mu)), counts, alpha)


@functools.lru_cache(maxsize=128)
def _chosen(canaries: int, alpha: float) -> tuple[Guesses, ...]:
    """Returns numbers of guesses that each refute mu = 1/2 if all guesses are right."""

    def proves(guesses: int, level: float) -> bool:
        return _refutes_gaussian(0.5, OneRunGuesses(canaries, guesses, guesses), level)

    return default_guesses(canaries, alpha, proves=proves)
