"""A cheap, approximate audit that treats the log ratio of the two rates as normal."""

import numpy as np
from scipy.special import ndtri

from dpbench.arrays import Floats
from dpbench.privacy.audits.audit_result import AuditResult, Errors, error_probability
from dpbench.privacy.audits.clopper_pearson import ASSUMES
from dpbench.privacy.audits.thresholds import Conversion, Split, ThresholdChoice
from dpbench.privacy.audits.trials import Trials, require_trials

METHOD = "Katz-log (approximate)"


def audit_katz(
    trials: Trials,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    choice: ThresholdChoice | None = None,
) -> AuditResult:
    """Returns an approximate lower bound on epsilon: no guarantee, and wrong too often.

    Katz et al. 1978, method C: log((TPR - delta) / FPR) is normal, with the variance that the delta
    method gives; and the same for (TNR - delta) / FNR, each at half the error probability. A count
    of zero errors is taken as one half. The approximation fails where errors are few:
    docs/audits.md has the measured coverage. `audit_clopper_pearson` costs as little and holds.

    Args:
        trials: Independent trials; the bits need not be fair.
        delta: The delta at which epsilon is bounded.
        confidence: Nominal probability that the bound holds.
        choice: How the threshold is chosen; by default on a `Split` of the trials.

    Raises:
        TypeError: The trials are not `Trials`.
        UserError: Confidence or delta is out of range.
    """
    alpha = error_probability(confidence, delta, method=METHOD)

    def promise(errors: Errors, level: float) -> Floats:
        return epsilons_katz(errors, delta, level)

    conversion = Conversion(lambda errors, level: float(promise(errors, level)), promise, True)
    found = (choice or Split()).best(require_trials(trials, method=METHOD), [conversion], alpha)
    return AuditResult(
        epsilon=found.value,
        method=METHOD,
        confidence=confidence,
        delta=delta,
        threshold=found.threshold,
        counts=found.errors,
        assumes=f"many errors of both kinds (normal approximation); {ASSUMES} ({trials.origin})",
    )


def epsilons_katz(errors: Errors, delta: float, alpha: float) -> Floats:
    """Returns the larger of the two log-ratio limits, at least 0, for each threshold."""
    wrong, outside, missed, inside = (np.asarray(count, dtype=float) for count in errors)
    limits = (
        _log_ratio_lower((missed, inside), (wrong, outside), delta, alpha / 2),
        _log_ratio_lower((wrong, outside), (missed, inside), delta, alpha / 2),
    )
    found: Floats = np.maximum(0.0, np.maximum(*limits))
    return found


def _log_ratio_lower(
    failures: tuple[Floats, Floats], errors: tuple[Floats, Floats], delta: float, alpha: float
) -> Floats:
    """Returns the normal lower limit of log((1 - failure rate - delta) / error rate)."""
    trials, chances = (np.maximum(1.0, pair[1]) for pair in (failures, errors))
    success, rate = 1 - failures[0] / trials, np.maximum(0.5, errors[0]) / chances
    positive = (success > delta) & (failures[1] > 0) & (errors[1] > 0)
    excess = np.where(positive, success - delta, 1.0)
    # Delta method: for a rate p of n trials, log(p - delta) has the variance
    # p (1 - p) / n / (p - delta)^2, which is (1 - p) / (n p) without delta.
    variance = success * (1 - success) / trials / excess**2 + np.maximum(0, 1 - rate) / (
        chances * rate
    )
    limit: Floats = np.log(excess / rate) + ndtri(alpha) * np.sqrt(variance)
    return np.where(positive, limit, 0.0)
