"""The Bayesian audit: the posterior probability that the error rates allow an epsilon."""

import numpy as np
from scipy.optimize import brentq
from scipy.special import betainc, betaincinv, betaln

from dpbench.arrays import Floats
from dpbench.privacy.audits.audit_result import AuditResult, Errors, error_probability
from dpbench.privacy.audits.clopper_pearson import ASSUMES, conversions
from dpbench.privacy.audits.thresholds import Conversion, Split, ThresholdChoice
from dpbench.privacy.audits.trials import Trials, require_trials

METHOD = "Bayesian (credible)"

_LARGEST_EPSILON = 60.0
# These quantiles cut a Beta distribution where its density bends; 2e-14 of the mass is outside. The
# upper half comes from the mirrored distribution, since quantiles such as 1 - 1e-14 lose digits.
_QUANTILES = np.array([1e-14, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.04, 0.12, 0.27, 0.5])
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def audit_bayesian(
    trials: Trials,
    *,
    delta: float = 0.0,
    confidence: float = 0.95,
    choice: ThresholdChoice | None = None,
) -> AuditResult:
    """Returns the epsilon that is exceeded with posterior probability `confidence`.

    Zanella-Beguelin et al. 2023: FPR and FNR have independent Jeffreys priors Beta(1/2, 1/2), and
    the bound is the epsilon whose region has the rest of the posterior mass. A credible bound, not
    a confidence bound: it holds on average over rates drawn from the prior. For fixed rates it may
    be wrong more often than 1 - confidence, up to one time in four for randomised response, whose
    rates lie in the corner of the region; docs/audits.md has the measured coverage.

    Unlike the paper's, the region includes all rates of attacks that are worse than guessing.
    Otherwise that of epsilon = 0 is a line without mass, and any attack would prove something.

    Args:
        trials: Independent trials; the bits need not be fair.
        delta: The delta at which epsilon is bounded.
        confidence: Posterior probability that the bound holds.
        choice: How the threshold is chosen; by default on a `Split` of the trials.

    Raises:
        TypeError: The trials are not `Trials`.
        UserError: Confidence or delta is out of range.
    """
    alpha = error_probability(confidence, delta, method=METHOD)

    def bound(errors: Errors, level: float) -> float:
        return epsilon_bayesian(errors, delta=delta, alpha=level)

    # Thresholds are compared by their Clopper-Pearson bounds, which are close and cheap.
    conversion = Conversion(bound, conversions(delta)[0].promise, True)
    found = (choice or Split()).best(require_trials(trials, method=METHOD), [conversion], alpha)
    return AuditResult(
        epsilon=found.value,
        method=METHOD,
        confidence=confidence,
        delta=delta,
        threshold=found.threshold,
        counts=found.errors,
        assumes=f"Jeffreys priors of the two rates; {ASSUMES} ({trials.origin})",
    )


def epsilon_bayesian(errors: Errors, *, delta: float = 0.0, alpha: float = 0.05) -> float:
    """Returns the epsilon whose one-sided region has posterior mass alpha; 0 if none has less."""

    def excess(epsilon: float) -> float:
        return posterior_mass(epsilon, errors, delta=delta, two_sided=False) - alpha

    if 0 in (errors.members, errors.non_members) or excess(0.0) >= 0:
        return 0.0
    if excess(_LARGEST_EPSILON) < 0:
        return _LARGEST_EPSILON
    return float(brentq(excess, 0.0, _LARGEST_EPSILON, xtol=1e-10))


def posterior_mass(
    epsilon: float, errors: Errors, *, delta: float = 0.0, two_sided: bool = True
) -> float:
    """Returns the posterior probability of the rates that (epsilon, delta)-DP allows.

    These are, for each FNR x, the FPR between max(0, 1 - delta - e^eps x, e^-eps (1 - delta - x))
    and the mirror image, one minus the same at 1 - x. The integral over x runs over the angle
    t = arcsin(sqrt(x)), in which the density of a Beta(1/2 + ., 1/2 + .) is smooth, in panels that
    end where either distribution or the region has an edge.

    Args:
        epsilon: At least 0.
        errors: Counts at one threshold.
        delta: In [0, 1).
        two_sided: Whether the mirror image limits the region, as in the paper.
    """
    wrong, outside, missed, inside = (float(count) for count in errors)
    fpr, fnr = (wrong + 0.5, outside - wrong + 0.5), (missed + 0.5, inside - missed + 0.5)
    angles = _panels(fpr, fnr, epsilon, delta)
    middle, half = (angles[1:] + angles[:-1]) / 2, np.diff(angles) / 2
    angle = (middle[:, None] + half[:, None] * _NODES).ravel()
    weight = (half[:, None] * _WEIGHTS).ravel()
    x = np.sin(angle) ** 2
    log_density = (
        np.log(2)
        + (2 * fnr[0] - 1) * np.log(np.sin(angle))
        + (2 * fnr[1] - 1) * np.log(np.cos(angle))
        - betaln(*fnr)
    )
    # The mass of FPR above 1 - y is that of the mirrored Beta below y: 1 - y would lose its digits.
    below = betainc(*fpr, _least_fpr(x, epsilon, delta))
    beyond = betainc(*fpr[::-1], _least_fpr(1 - x, epsilon, delta)) if two_sided else 0.0
    allowed = 1 - below - beyond
    return float(np.sum(weight * np.exp(log_density) * np.maximum(0.0, allowed)))


def _least_fpr(fnr: Floats, epsilon: float, delta: float) -> Floats:
    room = 1 - delta
    least = np.maximum(room - np.exp(epsilon) * fnr, np.exp(-epsilon) * (room - fnr))
    clipped: Floats = np.clip(least, 0.0, 1.0)
    return clipped


def _panels(
    fpr: tuple[float, float], fnr: tuple[float, float], epsilon: float, delta: float
) -> Floats:
    """Returns increasing angles between which the integrand is smooth and of one scale."""
    growth, room = np.exp(epsilon), 1 - delta
    levels = _spread(fpr)
    # The FNRs at which the lower edge of the region passes the quantiles of the FPR. Between them
    # the inner integral is smooth; the corner and the ends of the edge are cuts as well.
    edge = np.concatenate([(room - levels) / growth, room - growth * levels])
    mirrored = 1 - np.concatenate([(room - 1 + levels) / growth, room - growth * (1 - levels)])
    corner = room / (1 + growth)
    own = _spread(fnr)
    cuts = np.concatenate([own, edge, mirrored, [corner, 1 - corner, room, 1 - room]])
    inside = np.clip(cuts, own[0], own[-1])
    angles: Floats = np.unique(np.arcsin(np.sqrt(np.clip(inside, 0.0, 1.0))))
    return angles


def _spread(shape: tuple[float, float]) -> Floats:
    """Returns quantiles of a Beta distribution that cut it into pieces of one scale."""
    lower = betaincinv(*shape, _QUANTILES)
    upper = 1 - betaincinv(shape[1], shape[0], _QUANTILES)
    quantiles: Floats = np.sort(np.concatenate([lower, upper]))
    return quantiles
