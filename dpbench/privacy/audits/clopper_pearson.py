"""The audit that assumes least: exact binomial limits on the error rates of independent trials."""

import numpy as np

from dpbench.arrays import Floats
from dpbench.privacy.audits.audit import (
    clopper_pearson_upper,
    epsilons_from_rates,
    epsilons_from_total,
)
from dpbench.privacy.audits.audit_result import AuditResult, Errors, error_probability
from dpbench.privacy.audits.thresholds import Conversion, Split, ThresholdChoice
from dpbench.privacy.audits.trials import Trials, require_trials

METHOD = "Clopper-Pearson"
ASSUMES = "independent trials: each (score, bit) pair from its own training"


def audit_clopper_pearson(
    trials: Trials,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    choice: ThresholdChoice | None = None,
) -> AuditResult:
    """Returns a lower bound on epsilon that holds for every mechanism.

    Two conversions compete where the threshold is chosen on other trials. With a limit for each
    rate at half the error probability, Kairouz et al. 2015 and Jagielski et al. 2020 (see
    `epsilon_from_rates`). With one limit on the share of wrong decisions, `epsilons_from_total`:
    the trials are independent but their error rates differ, and for such sums the binomial limit
    still holds (Hoeffding 1956).

    Args:
        trials: Independent trials; the bits need not be fair.
        delta: The delta at which epsilon is bounded.
        confidence: Probability that the bound holds.
        choice: How the threshold is chosen; by default on a `Split` of the trials.

    Raises:
        TypeError: The trials are not `Trials`.
        UserError: Confidence or delta is out of range.
    """
    alpha = error_probability(confidence, delta, method=METHOD)
    found = (choice or Split()).best(
        require_trials(trials, method=METHOD), conversions(delta), alpha
    )
    return AuditResult(
        epsilon=found.value,
        method=METHOD,
        confidence=confidence,
        delta=delta,
        threshold=found.threshold,
        counts=found.errors,
        assumes=f"{ASSUMES} ({trials.origin})",
    )


def conversions(delta: float) -> tuple[Conversion, Conversion]:
    """Returns the conversion with separate limits of the two rates, and that of the total error."""

    def by_rates(errors: Errors, alpha: float) -> Floats:
        return epsilons_from_rates(*rate_limits(errors, alpha), delta)

    def by_total(errors: Errors, alpha: float) -> Floats:
        return epsilons_from_total(*total_limit(errors, alpha), delta)

    # The order counts: a threshold fixed beforehand (`Explicit`) uses the first.
    return (
        Conversion(lambda errors, alpha: float(by_rates(errors, alpha)), by_rates, True),
        Conversion(lambda errors, alpha: float(by_total(errors, alpha)), by_total, False),
    )


def rate_limits(errors: Errors, alpha: float) -> tuple[Floats, Floats]:
    """Returns upper limits of FPR and FNR that hold together with probability 1 - alpha."""
    fpr = clopper_pearson_upper(errors.false_positives, errors.non_members, alpha / 2)
    fnr = clopper_pearson_upper(errors.false_negatives, errors.members, alpha / 2)
    return fpr, fnr


def total_limit(errors: Errors, alpha: float) -> tuple[Floats, float]:
    """Returns an upper limit of the expected share of wrong decisions, and the members' share."""
    decisions = int(errors.members) + int(errors.non_members)
    wrong = np.add(errors.false_positives, errors.false_negatives)
    return clopper_pearson_upper(wrong, decisions, alpha), int(errors.members) / max(1, decisions)
