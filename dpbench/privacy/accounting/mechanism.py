"""Mechanisms and what they guarantee: epsilon, delta, advantage, and the whole trade-off curve.

A guarantee is stated for a `dp_accounting.DpEvent` under add/remove adjacency, the adjacency of a
game in which each example is a member or not, independently of the others. With
`adjacency="replace_one"` it is that of a game with a fixed number of members. Full-batch Gaussian
mechanisms are exact; everything else goes through dp_accounting's privacy loss distributions, whose
discretisation is pessimistic and whose rounding is allowed for: every number is an upper bound.
`dpbench.privacy.accounting.domain` states what can be accounted for.

Under replace-one, dp_accounting knows Gaussian mechanisms and their Poisson samples, whose worst
case is two opposite examples of the largest norm. Of other events only the trade-off curve is
known; their epsilon, delta and advantage raise a UserError.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.component import Settings
from dpbench.errors import UserError
from dpbench.privacy.accounting.adjacency import (
    Adjacency,
    Direction,
    replace_one_mu,
    require_adjacency,
    require_direction,
)
from dpbench.privacy.accounting.approximate import ApproximateDp
from dpbench.privacy.accounting.cache import recall
from dpbench.privacy.accounting.gaussian import delta_gaussian, epsilon_gaussian
from dpbench.privacy.accounting.loss import is_replaceable, privacy_loss
from dpbench.privacy.accounting.profile import PrivacyProfile
from dpbench.privacy.accounting.ranges import in_range
from dpbench.privacy.bounds.bounds import advantage_gaussian, tpr_epsilon, tpr_gaussian

# dp_accounting takes more than a second to import, so functions import it when they first need it.
if TYPE_CHECKING:
    from dp_accounting import DpEvent


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


def epsilon(
    event: "DpEvent | ApproximateDp", delta: float, *, adjacency: Adjacency = "add_remove"
) -> float:
    """Returns the smallest epsilon at which the event is (epsilon, delta)-DP, or inf.

    Never too small, at any delta, and within about 1e-3. At delta 0 it is the pure epsilon, inf for
    Gaussian noise.
    """
    delta = float(in_range("delta", delta))
    if isinstance(event, ApproximateDp):
        return _as_known(event, adjacency).epsilon_at(delta)
    mu = _exact_mu(event, adjacency)
    if mu is not None:
        return epsilon_gaussian(delta, mu)
    query = {"quantity": "epsilon", "event": repr(event), "adjacency": adjacency, "delta": delta}
    return float(recall(query, lambda: privacy_loss(event, adjacency).epsilon(delta)))


def delta(
    event: "DpEvent | ApproximateDp", epsilon: float, *, adjacency: Adjacency = "add_remove"
) -> float:
    """Returns the smallest delta such that the event is (epsilon, delta)-DP, in [0, 1]."""
    epsilon = float(in_range("epsilon", epsilon))
    if isinstance(event, ApproximateDp):
        return _as_known(event, adjacency).hockey_stick(epsilon)
    mu = _exact_mu(event, adjacency)
    if mu is not None:
        return delta_gaussian(epsilon, mu)
    query = {
        "quantity": "delta",
        "event": repr(event),
        "adjacency": adjacency,
        "epsilon": epsilon,
    }
    return float(recall(query, lambda: privacy_loss(event, adjacency).delta(epsilon)))


def advantage(event: "DpEvent | ApproximateDp", *, adjacency: Adjacency = "add_remove") -> float:
    """B7: the largest TPR - FPR of any attack, the total variation of the dominating pair.

    It is delta at epsilon 0, in [0, 1]: the tightest bound on the advantage, because it uses the
    mechanism itself and not one (epsilon, delta) of it.
    """
    mu = None if isinstance(event, ApproximateDp) else _exact_mu(event, adjacency)
    if mu is not None:
        return float(advantage_gaussian(mu))
    return delta(event, 0.0, adjacency=adjacency)


def trade_off(
    event: "DpEvent | ApproximateDp",
    fpr: ArrayLike,
    direction: Direction = "both",
    *,
    adjacency: Adjacency = "add_remove",
) -> Floats:
    """B8: the largest TPR of any attack at each FPR.

    Phi(Phi^-1(FPR) + mu) for full-batch Gaussians (Dong et al. 2022). Otherwise the lower envelope
    of B5 over more than 1000 values of epsilon: a concave curve, never below the exact one.

    Args:
        event: The mechanism.
        fpr: False positive rates, any shape.
        direction: "remove" is the membership game: FPR is measured on models without the example,
            TPR on models with it. "add" tests for its absence: FPR is measured on models with the
            example, TPR on models without it. Its curve is the mirror image of the other about
            the anti-diagonal. "both" is above the two and symmetric: it holds whichever of the two
            was measured.
        adjacency: The game's relation. Under "replace_one" the two directions are the same.

    Raises:
        UserError: The direction or the adjacency is unknown, or the event cannot be accounted for.
    """
    require_direction(direction)
    if isinstance(event, ApproximateDp):
        known = _as_known(event, adjacency)
        return np.asarray(tpr_epsilon(fpr, known.epsilon, known.delta))
    mu = _exact_mu(event, adjacency)
    if mu is not None:
        return tpr_gaussian(fpr, mu)
    if adjacency == "replace_one" and not is_replaceable(event):
        # Group privacy, of the whole curve: remove one example, then add another.
        return trade_off(event, trade_off(event, fpr, "add"), "remove")
    return _profile(event, adjacency).tpr(fpr, direction)


def _as_known(event: ApproximateDp, adjacency: Adjacency) -> ApproximateDp:
    """Returns an add/remove promise.

    Raises:
        UserError: Another relation is asked for.
    """
    require_adjacency(adjacency)
    if adjacency != "add_remove":
        raise UserError(
            f"{event} is known under add/remove adjacency only",
            next_step="dpbench.privacy.Guarantee(epsilon=..., delta=...).replace_one()",
        )
    return event


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


def _exact_mu(event: "DpEvent", adjacency: Adjacency) -> float | None:
    require_adjacency(adjacency)
    mu = gaussian_mu(event)
    return replace_one_mu(mu) if mu is not None and adjacency == "replace_one" else mu


def _profile(event: "DpEvent", adjacency: Adjacency) -> PrivacyProfile:
    query = {"quantity": "profile", "event": repr(event), "adjacency": adjacency}
    stored = recall(
        query, lambda: [part.tolist() for part in privacy_loss(event, adjacency).profile]
    )
    return PrivacyProfile(*(np.array(part) for part in stored))
