"""The audit of a Gaussian mechanism: errors bound its mu, and mu its epsilon at any delta."""

import numpy as np

from dpbench.arrays import Floats
from dpbench.errors import UserError
from dpbench.privacy.accounting.gaussian import epsilon_gaussian
from dpbench.privacy.audits.audit import mus_from_rates, mus_from_total
from dpbench.privacy.audits.audit_result import AuditResult, Errors, error_probability
from dpbench.privacy.audits.clopper_pearson import ASSUMES, rate_limits, total_limit
from dpbench.privacy.audits.thresholds import Conversion, Split, ThresholdChoice
from dpbench.privacy.audits.trials import Trials, require_trials

METHOD = "Gaussian DP"
GAUSSIAN = "a Gaussian mechanism without subsampling (full batches)"

# Measured with mu = 1 and 2,000 trials: enough that luck at the ends of the curve no longer chooses
# the threshold.
_CAUTION = 10.0
_CHOICE = Split(fraction=0.2)


def audit_gaussian(
    trials: Trials,
    *,
    delta: float,
    confidence: float = 0.95,
    choice: ThresholdChoice | None = None,
) -> AuditResult:
    """Returns a lower bound on the epsilon of a Gaussian mechanism. Nasr et al. 2023, section 4.

    Errors at one threshold bound mu (`mu_from_rates`, `mus_from_total`), and mu gives epsilon at
    any delta, far below what few trials could show by counting. It is valid only where the
    trade-off curve is a Gaussian's: noise added to the whole batch. With subsampling it may claim
    more than the true epsilon (docs/audits.md has an example); use `epsilon_of_sampled_gaussian`.

    Args:
        trials: Independent trials; the bits need not be fair.
        delta: The delta at which epsilon is bounded, above 0.
        confidence: Probability that the bound holds.
        choice: How the threshold is chosen; by default on a fifth of the trials (`Split`).

    Raises:
        TypeError: The trials are not `Trials`.
        UserError: Confidence or delta is out of range, or delta is 0, where no Gaussian mechanism
            has a finite epsilon.
    """
    alpha = error_probability(confidence, delta, method=METHOD)
    require_positive(delta, method=METHOD)
    found = (choice or _CHOICE).best(require_trials(trials, method=METHOD), conversions(), alpha)
    return AuditResult(
        epsilon=epsilon_gaussian(delta, found.value),
        method=METHOD,
        confidence=confidence,
        delta=delta,
        threshold=found.threshold,
        counts=found.errors,
        assumes=f"{GAUSSIAN}; {ASSUMES} ({trials.origin})",
    )


def conversions() -> tuple[Conversion, Conversion]:
    """Returns the conversions to mu: from limits of the two rates, and of the total error.

    Near its optimum the bound hardly depends on the threshold, so the best of many promises is
    mostly luck. Therefore the total error promises something only at the threshold with the most
    equal rates, where a Gaussian's error is least, and the rates promise less than they could.
    """

    def by_rates(errors: Errors, alpha: float) -> Floats:
        return mus_from_rates(*rate_limits(errors, alpha))

    def by_total(errors: Errors, alpha: float) -> Floats:
        return mus_from_total(*total_limit(errors, alpha))

    def cautious(errors: Errors, alpha: float) -> Floats:
        return by_rates(errors, alpha / _CAUTION)

    def at_equal_rates(errors: Errors, alpha: float) -> Floats:
        fpr = np.asarray(errors.false_positives) / max(1, int(errors.non_members))
        fnr = np.asarray(errors.false_negatives) / max(1, int(errors.members))
        vertex = int(np.argmin(np.abs(fpr - fnr)))
        promised = np.zeros(fpr.shape)
        alike = errors._replace(
            false_positives=np.asarray(errors.false_positives)[vertex],
            false_negatives=np.asarray(errors.false_negatives)[vertex],
        )
        promised[vertex] = by_total(alike, alpha)
        return promised

    # The order counts: a threshold fixed beforehand (`Explicit`) uses the first.
    return (
        Conversion(lambda errors, alpha: float(by_rates(errors, alpha)), cautious, True),
        Conversion(lambda errors, alpha: float(by_total(errors, alpha)), at_equal_rates, False),
    )


def require_positive(delta: float, *, method: str) -> None:
    """Refuses delta = 0.

    Raises:
        UserError: Delta is 0.
    """
    if delta == 0:
        raise UserError(
            f"{method}: delta 0, at which every Gaussian mechanism has an infinite epsilon",
            allowed="a delta above 0",
        )
