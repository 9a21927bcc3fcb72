"""The composed privacy loss of an event: epsilon, delta and profile, each an upper bound.

dp_accounting's privacy-loss distributions (PLD) are discretised pessimistically, but composed by
FFTs, whose rounding may take away as much as it adds. So a delta is raised by all that rounding may
have taken, and where that is not small against the delta, the tail is composed by itself (`Tail`).
"""

import functools
import math
import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dpbench.errors import UserError
from dpbench.privacy.accounting.adjacency import Adjacency
from dpbench.privacy.accounting.discretisation import LOG_DROPPED, components, loss_interval
from dpbench.privacy.accounting.domain import require_domain
from dpbench.privacy.accounting.profile import PrivacyProfile, privacy_profile
from dpbench.privacy.accounting.pure import pure_epsilon
from dpbench.privacy.accounting.renyi import renyi_epsilon
from dpbench.privacy.accounting.tail import StepLoss, Tail, rounding

# dp_accounting takes more than a second to import, so functions import it when they first need it.
if TYPE_CHECKING:
    from dp_accounting import DpEvent, NeighboringRelation

# dp_accounting takes e^interval. With the points that it can afford, losses reach 10^8.
_MAX_INTERVAL = 500.0
# A delta that rounding may change by less than 1e-4 changes epsilon by less than 1e-4, relatively.
_RESOLVED = 1e4
# The noise left out is to weigh less than e^-10 of a delta, and e^-740 is the smallest double.
_BELOW_DELTA, _LEAST_LOG = -10.0, -740.0


@dataclass(frozen=True)
class PrivacyLoss:
    """The privacy loss of an event, composed when it is first asked.

    Attributes:
        event: The mechanism.
        adjacency: The relation of the two data sets.
    """

    event: "DpEvent"
    adjacency: Adjacency = "add_remove"

    def epsilon(self, delta: float) -> float:
        """Returns an upper bound on the smallest epsilon at which the event is (epsilon, delta)-DP.

        Within about 1e-3 of the exact one. Where neither the whole distribution nor its tail
        resolves delta (other events than Gaussian and Laplace noise, or a delta near the smallest
        double), the Renyi and the pure epsilon remain, which are bounds as well and looser.
        """
        if delta >= 1:
            return 0.0
        pure = pure_epsilon(self.event)
        if delta == 0:
            self._require_known()
            return pure
        if delta >= _RESOLVED * self.rounding:
            found = float(self.composed.get_epsilon(delta - self.rounding))
        else:
            found = max((tail.epsilon(delta) for tail in self._tails(delta)), default=math.inf)
            if found == math.inf:
                found = self._without_tails(delta)
        return max(0.0, min(found, pure))

    def delta(self, epsilon: float) -> float:
        """Returns an upper bound on the smallest delta at an epsilon, in [0, 1]."""
        if epsilon >= pure_epsilon(self.event):
            self._require_known()
            return 0.0
        found = min(1.0, max(0.0, float(self.composed.get_delta(epsilon))) + self.rounding)
        reached = math.inf
        # The noise that is left out must be rare against a delta that is known only afterwards.
        while _RESOLVED * self.rounding > found and found < reached / 2:
            reached = found
            tails = self._tails(found)
            found = min(found, max((tail.delta(epsilon) for tail in tails), default=1.0))
        return found

    @functools.cached_property
    def profile(self) -> PrivacyProfile:
        """Upper bounds on delta at many epsilons, in both directions."""
        return privacy_profile(self.composed, self.rounding)

    @functools.cached_property
    def composed(self) -> Any:
        """dp_accounting's `PLDAccountant` that has composed the event.

        Gaussian and Laplace mechanisms and their Poisson samples take less than 10 seconds of one
        core each, whatever their noise and however often they are repeated;
        `bench/accounting_corners.py` measures 2. Laplace noise of less than 1/700 counts as none.
        For other events the time is dp_accounting's.

        Raises:
            UserError: dp_accounting knows no loss distribution of the event under this relation, or
                the noise is so little that losses reach 10^8.
        """
        empty = self._empty(self._interval(LOG_DROPPED))
        self._require_known()
        return empty.compose(self.event)

    @functools.cached_property
    def rounding(self) -> float:
        """By how much the FFTs of `composed` may err in any delta."""
        compositions = sum(count for count, _ in components(self.event))
        # The FFT has fewer points than losses of each step times compositions, or 2^24.
        return rounding(compositions, 2.0**24)

    def _without_tails(self, delta: float) -> float:
        left = delta - self.rounding
        found = float(self.composed.get_epsilon(left)) if left > 0 else math.inf
        renyi = renyi_epsilon(self.event, delta) if self.adjacency == "add_remove" else None
        return min(found, math.inf if renyi is None else renyi)

    def _tails(self, delta: float) -> tuple[Tail, ...]:
        """Returns the tail of each direction, or nothing for losses that are not known here."""
        compositions = sum(count for count, _ in components(self.event))
        wanted = math.log(delta / compositions) if delta > compositions * 5e-324 else -math.inf
        dropped = min(LOG_DROPPED, max(_LEAST_LOG, wanted + _BELOW_DELTA))
        interval = self._interval(dropped)
        remove, add = [], []
        for count, step in components(self.event):
            known = _step_distribution(step, interval, dropped, self._relation())
            if known is None:
                return ()
            remove.append(_step_loss(known._pmf_remove, count))
            add.append(remove[-1] if known._symmetric else _step_loss(known._pmf_add, count))
        directions = [remove] if all(map(operator.is_, remove, add)) else [remove, add]
        return tuple(Tail(tuple(steps), interval) for steps in directions)

    def _interval(self, log_dropped: float) -> float:
        require_domain(self.event)
        interval = loss_interval(self.event, self.adjacency, log_dropped=log_dropped)
        if interval > _MAX_INTERVAL:
            raise UserError(
                f"the privacy losses of {self.event} are too large to account for",
                next_step="use more noise: this is no privacy",
            )
        return interval

    def _require_known(self) -> None:
        require_domain(self.event)
        if not self._empty(1.0).supports(self.event):
            replaced = self.adjacency == "replace_one"
            raise UserError(
                f"no privacy-loss distribution is known for {self.event} under {self.adjacency}",
                next_step="take add_remove and Guarantee.replace_one" if replaced else "",
            )

    def _empty(self, interval: float) -> Any:
        from dp_accounting.pld import PLDAccountant

        return PLDAccountant(self._relation(), value_discretization_interval=interval)

    def _relation(self) -> "NeighboringRelation":
        from dp_accounting import NeighboringRelation

        if self.adjacency == "replace_one":
            return NeighboringRelation.REPLACE_ONE
        return NeighboringRelation.ADD_OR_REMOVE_ONE


# An event is asked for its epsilon, advantage and profile in a row; composing it is what costs.
_latest: dict[tuple[str, Adjacency], PrivacyLoss] = {}


def privacy_loss(event: "DpEvent", adjacency: Adjacency = "add_remove") -> PrivacyLoss:
    """Returns the loss of an event, the same object if the same event is asked in a row."""
    name = (repr(event), adjacency)
    if name not in _latest:
        _latest.clear()
        _latest[name] = PrivacyLoss(event, adjacency)
    return _latest[name]


def is_replaceable(event: "DpEvent") -> bool:
    """Returns whether dp_accounting knows the event's loss under replace-one."""
    return bool(PrivacyLoss(event, "replace_one")._empty(1.0).supports(event))


def _step_loss(pmf: Any, count: int) -> StepLoss:
    dense = pmf.to_dense_pmf()
    return StepLoss(count, dense._lower_loss, dense._probs, dense._infinity_mass)


def _step_distribution(
    step: "DpEvent", interval: float, log_dropped: float, relation: "NeighboringRelation"
) -> Any:
    """Returns dp_accounting's distribution of one step's loss; None for other mechanisms."""
    import dp_accounting
    from dp_accounting.pld import privacy_loss_distribution as pld

    rate = 1.0
    if isinstance(step, dp_accounting.NoOpDpEvent):
        return pld.identity(value_discretization_interval=interval)
    if isinstance(step, dp_accounting.PoissonSampledDpEvent):
        rate, step = float(step.sampling_probability), step.event
    if rate == 0:
        return pld.identity(value_discretization_interval=interval)
    scale = float(getattr(step, "noise_multiplier", 0.0))
    if scale > 0 and isinstance(step, dp_accounting.GaussianDpEvent):
        return pld.from_gaussian_mechanism(
            scale,
            value_discretization_interval=interval,
            log_mass_truncation_bound=log_dropped,
            sampling_prob=rate,
            neighboring_relation=relation,
        )
    if scale > 0 and isinstance(step, dp_accounting.LaplaceDpEvent):
        return pld.from_laplace_mechanism(
            scale, value_discretization_interval=interval, sampling_prob=rate
        )
    return None
