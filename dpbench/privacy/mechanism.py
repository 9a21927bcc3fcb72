"""Mechanisms and what they guarantee: epsilon, delta, advantage, and the whole trade-off curve.

A guarantee is stated for a `dp_accounting.DpEvent` under add/remove adjacency, the adjacency of a
game in which each example is a member or not, independently of the others. Full-batch Gaussian
mechanisms are exact; everything else goes through dp_accounting's privacy loss distributions, whose
discretisation is pessimistic: epsilon, delta and advantage are upper bounds.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from dpbench.component import Settings
from dpbench.privacy.bounds import advantage_gaussian, tpr_epsilon, tpr_gaussian
from dpbench.privacy.cache import recall
from dpbench.privacy.discretisation import loss_interval
from dpbench.privacy.gaussian import delta_gaussian, epsilon_gaussian

# dp_accounting takes more than a second to import, so functions import it when they first need it.
if TYPE_CHECKING:
    from dp_accounting import DpEvent

_DEFAULT_INTERVAL = 1e-4
_PROFILE_DELTA = 1e-9
_PROFILE_POINTS = 257

# An event is asked for its epsilon, advantage and profile in a row; composing it is what costs.
_latest: dict[str, Any] = {}


@dataclass(frozen=True, kw_only=True)
class SampledGaussian(Settings):
    """DP-SGD's mechanism: T times Poisson sampling, clipping to norm C, noise N(0, (sigma C)^2).

    Abadi et al. 2016, Algorithm 1. It describes a training only if sampling rate, step count and
    the gradient's denominator are fixed beforehand, whatever the number of members.

    Attributes:
        noise_multiplier: sigma; 0 is no privacy.
        sampling_rate: Probability q that a member enters a batch; 1 is full batch.
        steps: Number T of steps.
    """

    noise_multiplier: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    sampling_rate: Annotated[float, Field(gt=0, le=1)]
    steps: Annotated[int, Field(ge=1)]

    def event(self) -> "DpEvent":
        """Returns the mechanism in dp_accounting's terms, to be read under add/remove adjacency."""
        import dp_accounting

        if self.noise_multiplier == 0:
            return dp_accounting.NonPrivateDpEvent()
        step = dp_accounting.GaussianDpEvent(float(self.noise_multiplier))
        if self.sampling_rate < 1:
            step = dp_accounting.PoissonSampledDpEvent(float(self.sampling_rate), step)
        return dp_accounting.SelfComposedDpEvent(step, self.steps)

    @classmethod
    def of(cls, event: "DpEvent") -> "SampledGaussian | None":
        """Returns the mechanism whose `event()` is the given one, or None."""
        try:
            mechanism = cls(
                noise_multiplier=event.event.event.noise_multiplier,
                sampling_rate=event.event.sampling_probability,
                steps=event.count,
            )
        except AttributeError:
            return None
        return mechanism if mechanism.event() == event else None


def epsilon(event: "DpEvent", delta: float) -> float:
    """Returns the smallest epsilon at which the event is (epsilon, delta)-DP, or inf."""
    mu = gaussian_mu(event)
    if mu is not None:
        return epsilon_gaussian(delta, mu)
    query = {"quantity": "epsilon", "event": repr(event), "delta": delta}
    return float(recall(query, lambda: float(accountant(event).get_epsilon(delta))))


def delta(event: "DpEvent", epsilon: float) -> float:
    """Returns the smallest delta such that the event is (epsilon, delta)-DP, in [0, 1]."""
    mu = gaussian_mu(event)
    if mu is not None:
        return delta_gaussian(epsilon, mu)
    query = {"quantity": "delta", "event": repr(event), "epsilon": epsilon}
    return float(recall(query, lambda: _delta(event, epsilon)))


def advantage(event: "DpEvent") -> float:
    """B7: the largest TPR - FPR of any attack, the total variation of the dominating pair.

    It is delta at epsilon 0, in [0, 1]: the tightest bound on the advantage, because it uses the
    mechanism itself and not one (epsilon, delta) of it.
    """
    mu = gaussian_mu(event)
    return float(advantage_gaussian(mu)) if mu is not None else delta(event, 0.0)


def trade_off(event: "DpEvent", fpr: ArrayLike) -> NDArray[np.float64]:
    """B8: the largest TPR of any attack at each FPR.

    Phi(Phi^-1(FPR) + mu) for full-batch Gaussians (Dong et al. 2022). Otherwise the lower envelope
    of B5 over 257 values of epsilon, with the larger delta of the add and remove directions: a
    concave curve, symmetric about the anti-diagonal, never below the exact one.
    """
    mu = gaussian_mu(event)
    if mu is not None:
        return tpr_gaussian(fpr, mu)
    query = {"quantity": "profile", "event": repr(event)}
    profile = np.array(recall(query, lambda: _profile(event)))
    rates = np.asarray(fpr, dtype=float)
    envelope: NDArray[np.float64] = tpr_epsilon(rates[..., None], *profile).min(-1)
    return envelope


def gaussian_mu(event: "DpEvent") -> float | None:
    """Returns mu if the event is a composition of full-batch Gaussians, else None.

    0 is an event that touches no data; inf is one without any privacy.
    """
    import dp_accounting

    if isinstance(event, dp_accounting.NonPrivateDpEvent):
        return math.inf
    if isinstance(event, dp_accounting.NoOpDpEvent):
        return 0.0
    if isinstance(event, dp_accounting.GaussianDpEvent):
        return 1 / event.noise_multiplier if event.noise_multiplier else math.inf
    if isinstance(event, dp_accounting.SelfComposedDpEvent):
        one = gaussian_mu(event.event)
        return None if one is None else one * math.sqrt(event.count)
    if isinstance(event, dp_accounting.ComposedDpEvent):
        parts = [gaussian_mu(part) for part in event.events]
        known = [part for part in parts if part is not None]
        return math.hypot(*known) if len(known) == len(parts) or math.inf in known else None
    return None


def accountant(event: "DpEvent") -> Any:
    """Returns a `PLDAccountant` (add/remove) that has composed the event."""
    from dp_accounting.pld import PLDAccountant

    name = repr(event)
    composed = _latest.get(name)
    if composed is None:
        mechanism = SampledGaussian.of(event)
        interval = loss_interval(**mechanism.to_json()) if mechanism else _DEFAULT_INTERVAL
        composed = PLDAccountant(value_discretization_interval=interval).compose(event)
        _latest.clear()
        _latest[name] = composed
    return composed


def _delta(event: "DpEvent", epsilon: float) -> float:
    return float(min(1.0, max(0.0, accountant(event).get_delta(epsilon))))


def _profile(event: "DpEvent") -> list[list[float]]:
    """Returns epsilons from 0 to where delta all but vanishes, and the delta of each."""
    largest = accountant(event).get_epsilon(_PROFILE_DELTA)
    epsilons = np.linspace(0.0, min(largest, 1e6), _PROFILE_POINTS).tolist()
    return [epsilons, [_delta(event, value) for value in epsilons]]
