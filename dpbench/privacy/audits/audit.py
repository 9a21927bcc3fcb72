"""Converts an attack's error rates to the epsilon that they refute, for all audits.

All arguments are upper confidence limits, computed on other data than those that chose the
attack's threshold. Arrays broadcast.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import betaincinv, ndtr, ndtri

from dpbench.arrays import Floats
from dpbench.privacy.audits.one_run import epsilon_one_run as epsilon_one_run
from dpbench.privacy.audits.one_run import one_run_p_value as one_run_p_value

# Phi(-40 / 2) is 1e-89: no count of errors refutes a larger distance. 45 halvings find mu to 1e-12.
_LARGEST_MU = 40.0
_HALVINGS = 45


def clopper_pearson_upper(errors: ArrayLike, trials: ArrayLike, alpha: float = 0.025) -> Floats:
    """Returns the exact one-sided upper limit, at confidence 1 - alpha, of a binomial rate."""
    k, n = np.asarray(errors, dtype=float), np.asarray(trials, dtype=float)
    # The limit is a quantile of Beta(k + 1, n - k), which does not exist if all trials were errors.
    remaining = np.maximum(n - k, 1.0)
    limit: Floats = np.where(k < n, betaincinv(k + 1, remaining, 1 - alpha), 1.0)
    return limit


def epsilon_from_rates(*, fpr_upper: float, fnr_upper: float, delta: float = 0.0) -> float:
    """Returns the largest epsilon that the two error rates refute; 0 if they refute none.

    Kairouz et al. 2015: a mechanism with (epsilon, delta)-DP has FPR + e^eps FNR >= 1 - delta and
    the same with the rates exchanged. With 97.5 % limits on both rates the bound holds at 95 %.
    """
    return float(epsilons_from_rates(fpr_upper, fnr_upper, delta))


def epsilons_from_rates(fpr_upper: ArrayLike, fnr_upper: ArrayLike, delta: float = 0.0) -> Floats:
    """Returns `epsilon_from_rates` of arrays of rates."""
    small, large = np.minimum(fpr_upper, fnr_upper), np.maximum(fpr_upper, fnr_upper)
    # Of (1 - delta - FPR) / FNR and (1 - delta - FNR) / FPR, the larger ratio is the one with the
    # smaller rate in the denominator, wherever the rates refute anything.
    refutes = small + large < 1 - delta
    with np.errstate(divide="ignore"):
        ratio = np.where(refutes, 1 - delta - large, 1.0) / np.where(refutes, small, 1.0)
        found: Floats = np.log(ratio)
    return found


def mu_from_rates(*, fpr_upper: float, fnr_upper: float) -> float:
    """Returns the largest mu of a Gaussian mechanism that the two error rates refute; 0 if none.

    Nasr et al. 2023: Phi^-1(1 - FPR) - Phi^-1(FNR). Tighter than `epsilon_from_rates`, and a bound
    only if the mechanism is known to be Gaussian.
    """
    return float(mus_from_rates(fpr_upper, fnr_upper))


def mus_from_rates(fpr_upper: ArrayLike, fnr_upper: ArrayLike) -> Floats:
    """Returns `mu_from_rates` of arrays of rates."""
    useful = np.add(fpr_upper, fnr_upper) < 1
    fpr, fnr = np.where(useful, fpr_upper, 0.5), np.where(useful, fnr_upper, 0.5)
    found: Floats = np.maximum(0.0, -ndtri(fpr) - ndtri(fnr))
    return found


def epsilons_from_total(
    error_upper: ArrayLike, member_share: ArrayLike = 0.5, delta: float = 0.0
) -> Floats:
    """Returns the largest epsilon that the share of wrong decisions refutes; 0 if it refutes none.

    The smallest error that (epsilon, delta)-DP allows is (1 - delta) / (1 + e^eps), or that of
    calling every example a member, or none (the corners of the region of Kairouz et al. 2015). One
    limit at 95 % replaces two at 97.5 %: it is sharper if both rates matter equally, and useless if
    one of them is small.

    Args:
        error_upper: Upper limit of the expected share of wrong decisions.
        member_share: Share of members among the decided.
        delta: The delta at which epsilon is bounded.
    """
    error = np.asarray(error_upper, dtype=float)
    refutes = error < (1 - delta) * np.minimum(member_share, np.subtract(1, member_share))
    # An error of (1 - delta) / 2 stands for "refutes nothing": its epsilon is 0.
    found: Floats = np.log((1 - delta) / np.where(refutes, error, (1 - delta) / 2) - 1)
    return found


def mus_from_total(error_upper: ArrayLike, member_share: ArrayLike = 0.5) -> Floats:
    """Returns the largest mu of a Gaussian mechanism that the share of wrong decisions refutes.

    With w the share of members, the best attack on a mu-GDP mechanism cuts where the likelihood
    ratio is (1 - w) / w and errs with (1 - w) Phi(-t) + w Phi(t - mu), t = mu/2 + log((1-w)/w)/mu.
    The root is taken from below.
    """
    error, share = np.broadcast_arrays(np.asarray(error_upper, dtype=float), member_share)
    refutes = error < np.minimum(share, 1 - share)
    error, share = np.where(refutes, error, 0.25), np.where(refutes, share, 0.5)
    low, high = np.zeros(error.shape), np.full(error.shape, _LARGEST_MU)
    for _ in range(_HALVINGS):
        mu = (low + high) / 2
        cut = mu / 2 + np.log((1 - share) / share) / mu
        refuted = (1 - share) * ndtr(-cut) + share * ndtr(cut - mu) > error
        low, high = np.where(refuted, mu, low), np.where(refuted, high, mu)
    found: Floats = np.where(refutes, low, 0.0)
    return found
