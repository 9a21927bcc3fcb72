"""The guarantee of a mechanism: a pair (epsilon, delta), and mu and its curve if known."""

import functools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from dpbench.arrays import Floats
from dpbench.privacy.accounting import mechanism
from dpbench.privacy.accounting.adjacency import Adjacency, replace_one_mu, require_adjacency
from dpbench.privacy.accounting.gaussian import epsilon_gaussian
from dpbench.privacy.accounting.ranges import in_range
from dpbench.privacy.bounds.bounds import tpr_gaussian
from dpbench.privacy.bounds.curve import Curve

if TYPE_CHECKING:
    from dp_accounting import DpEvent

# Such a growth takes any delta above 1e-304 to its cap of 1, and is still a finite double.
_LARGE = 700.0


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """A guarantee for every pair of adjacent data sets, in both directions.

    Attributes:
        epsilon: Of (epsilon, delta)-DP; inf guarantees nothing.
        delta: Of (epsilon, delta)-DP.
        adjacency: `add_remove` or `replace_one`: which data sets are adjacent.
        mu: Of mu-GDP, if it is exact. The central-limit mu of subsampled training is not: it can
            be too small, and then nothing computed from it is a bound.
        curve: The largest TPR at each FPR, increasing and concave, if the mechanism is known.
    """

    epsilon: float
    delta: float = 0.0
    adjacency: Adjacency = "add_remove"
    mu: float | None = None
    curve: Curve | None = None

    def __post_init__(self) -> None:
        """Validates the fields.

        Raises:
            UserError: A number is out of range, or the adjacency unknown.
        """
        in_range("epsilon", self.epsilon)
        in_range("delta", self.delta)
        if self.mu is not None:
            in_range("mu", self.mu)
        require_adjacency(self.adjacency)

    @classmethod
    def of_event(
        cls, event: "DpEvent", *, delta: float, adjacency: Adjacency = "add_remove"
    ) -> "Guarantee":
        """Returns the guarantee of a mechanism, with the smallest epsilon at that delta."""
        in_range("delta", delta)
        mu = mechanism.gaussian_mu(event)
        if mu is not None and adjacency == "replace_one":
            mu = replace_one_mu(mu)
        return cls(
            epsilon=mechanism.epsilon(event, delta, adjacency=adjacency),
            delta=delta,
            adjacency=adjacency,
            mu=mu,
            curve=functools.partial(mechanism.trade_off, event, adjacency=adjacency),
        )

    @classmethod
    def of_mu(cls, mu: float, *, delta: float, adjacency: Adjacency = "add_remove") -> "Guarantee":
        """Returns the guarantee of a mechanism that is mu-GDP with an exact mu."""
        epsilon = epsilon_gaussian(float(in_range("delta", delta)), float(in_range("mu", mu)))
        curve = functools.partial(tpr_gaussian, mu=mu)
        return cls(epsilon=epsilon, delta=delta, adjacency=adjacency, mu=mu, curve=curve)

    def group(self, size: int) -> "Guarantee":
        """Returns the guarantee for data sets that are `size` adjacent steps apart.

        (k epsilon, delta (e^(k epsilon) - 1) / (e^epsilon - 1)), k mu, and the curve applied k
        times: the TPR of one step is the FPR of the next.
        """
        if size == 1:
            return self
        return replace(
            self,
            epsilon=size * self.epsilon,
            delta=_group_delta(self.epsilon, self.delta, size),
            mu=None if self.mu is None else size * self.mu,
            curve=None if self.curve is None else functools.partial(_applied, self.curve, size),
        )

    def replace_one(self) -> "Guarantee":
        """Returns the guarantee that follows under replace-one adjacency.

        To replace a record is to remove one and to add one, hence a group of two:
        (2 epsilon, (1 + e^epsilon) delta) and 2 mu. For a known mechanism `of_event` with that
        adjacency is tighter. There is no way back: a mechanism that publishes the number of
        records is perfectly private under replace-one adjacency.
        """
        if self.adjacency == "replace_one":
            return self
        return replace(self.group(2), adjacency="replace_one")


def _group_delta(epsilon: float, delta: float, size: int) -> float:
    # At epsilon 0 the fraction below is 0 / 0; its limit is the size.
    if epsilon == 0 or delta == 0:
        return min(1.0, size * delta)
    # (e^(k eps) - 1) / (e^eps - 1) with e^((k - 1) eps) taken out: only that can overflow, and is
    # capped.
    growth = math.exp(min((size - 1) * epsilon, _LARGE))
    return min(1.0, delta * growth * math.expm1(-size * epsilon) / math.expm1(-epsilon))


def _applied(curve: Curve, times: int, fpr: ArrayLike) -> Floats:
    rates = np.asarray(fpr, dtype=np.float64)
    for _ in range(times):
        rates = np.minimum(curve(rates), 1.0)
    return rates
