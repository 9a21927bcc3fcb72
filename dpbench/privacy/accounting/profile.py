"""The privacy profile: delta at every epsilon in both directions, and the trade-off curve it spans.

With P the output of the mechanism on a data set and Q the output without one example of it,
delta_remove(eps) = max over sets S of P(S) - e^eps Q(S), and delta_add(eps) is the same with P and
Q exchanged. The two at eps >= 0 determine all errors of all tests between P and Q.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dpbench.arrays import Floats
from dpbench.privacy.accounting.adjacency import Direction

# Evenly spaced epsilons serve spread losses; those at given masses of each direction serve losses
# that crowd together, as when little noise shows who was sampled.
_EVEN_POINTS = 1025
_MASSES = np.logspace(-12, 0, 241)
# Beyond this epsilon the smallest double is as good an FPR as 0.
_MAX_EPSILON = 700.0
# FPRs that are looked up at once: each is compared with all lines of the profile.
_BLOCK = 1024


class PrivacyProfile(NamedTuple):
    """Upper bounds on delta at ascending epsilons from 0; all three have shape `(points,)`."""

    epsilons: Floats
    remove: Floats
    add: Floats

    def tpr(self, fpr: ArrayLike, direction: Direction) -> Floats:
        """Returns the largest TPR that the profile allows at each FPR, in the shape of `fpr`.

        Every point of the profile is two lines above the curve, e^eps FPR + delta and
        1 - e^-eps (1 - delta' - FPR) with the delta' of the opposite direction (Kairouz et al.
        2015); the bound is the lowest of them, concave and never below the exact curve.
        """
        upper, lower = self.remove, self.add
        if direction == "add":
            upper, lower = lower, upper
        elif direction == "both":
            upper = lower = np.maximum(upper, lower)
        growth = np.exp(self.epsilons)
        rates = np.asarray(fpr, dtype=np.float64)
        bound = np.ones(rates.size)
        for start in range(0, rates.size, _BLOCK):
            block = rates.reshape(-1, 1)[start : start + _BLOCK]
            lines = np.minimum(growth * block + upper, 1 - (1 - lower - block) / growth)
            bound[start : start + _BLOCK] = np.minimum(lines.min(-1), 1.0)
        return bound.reshape(rates.shape)


def privacy_profile(accountant: Any, rounding: float) -> PrivacyProfile:
    """Returns the profile of what a `PLDAccountant` has composed.

    Args:
        accountant: The composed events.
        rounding: Bound on the rounding of the FFT in any delta.
    """
    if accountant.get_delta(np.inf) >= 1:
        return PrivacyProfile(np.zeros(1), np.ones(1), np.ones(1))
    # dp_accounting shows the larger of the two directions only; each has its own distribution.
    composed = accountant._pld
    remove, add = _Tail.of(composed._pmf_remove), _Tail.of(composed._pmf_add)
    crowded = np.append(remove.losses_at_masses(), add.losses_at_masses())
    even = np.linspace(0.0, np.clip(crowded.max(), 0.0, _MAX_EPSILON), _EVEN_POINTS)
    epsilons = np.union1d(even, crowded[(crowded > 0) & (crowded < _MAX_EPSILON)])
    return PrivacyProfile(
        epsilons,
        np.minimum(remove.deltas(epsilons) + rounding, 1.0),
        np.minimum(add.deltas(epsilons) + rounding, 1.0),
    )


class _Tail(NamedTuple):
    """Of the losses at least as large as each: their mass under P, and the log of it under Q.

    Attributes:
        losses: Ascending privacy losses, shape `(losses,)`.
        upper: Masses under P, with that of an infinite loss, shape `(losses + 1,)`.
        log_lower: Logarithms of the masses under Q, shape `(losses + 1,)`.
    """

    losses: Floats
    upper: Floats
    log_lower: Floats

    @classmethod
    def of(cls, pmf: Any) -> "_Tail":
        dense = pmf.to_dense_pmf()
        losses = (np.arange(dense.size) + dense._lower_loss) * dense._discretization
        # The FFT leaves masses that are a rounding error below 0.
        masses = np.maximum(np.asarray(dense._probs, dtype=np.float64), 0.0)
        with np.errstate(divide="ignore"):
            log_lower = np.logaddexp.accumulate((np.log(masses) - losses)[::-1])[::-1]
        upper = np.cumsum(masses[::-1])[::-1]
        return cls(
            losses,
            dense._infinity_mass + np.append(upper, 0.0),
            np.append(log_lower, -np.inf),
        )

    def losses_at_masses(self) -> Floats:
        """Returns, for each of `_MASSES`, the largest loss that has it above itself."""
        heavier = np.searchsorted(-self.upper[:-1], -_MASSES, side="right")
        found: Floats = self.losses[np.maximum(heavier - 1, 0)]
        return found

    def deltas(self, epsilons: Floats) -> Floats:
        start = np.searchsorted(self.losses, epsilons, side="right")
        found: Floats = self.upper[start] - np.exp(epsilons + self.log_lower[start])
        return np.clip(found, 0.0, 1.0)
