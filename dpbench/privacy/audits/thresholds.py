"""Ways to choose an audit's threshold that keep its error probability.

The largest of many bounds, each computed at its own threshold on the same trials, is not a
confidence bound: it takes the luckiest threshold. Here the threshold is fixed beforehand
(`Explicit`), chosen on trials that are then set aside (`Split`), or one of a few among which the
error probability is divided (`Bonferroni`).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dpbench.arrays import Floats
from dpbench.errors import UserError
from dpbench.privacy.audits.audit_result import Errors
from dpbench.privacy.audits.trials import Trials
from dpbench.seeds import rng_for


class Conversion(NamedTuple):
    """One way to turn errors into a bound.

    Attributes:
        bound: Returns the bound from errors and the probability with which it may be wrong.
        promise: A cheap stand-in for `bound` on arrays of errors. The threshold is the one at which
            it is largest on the trials that choose.
        by_rank: Whether the threshold may be the score of a member or non-member of a given rank.
            That needs a separate limit for each of the two rates (see `Bonferroni`).
    """

    bound: Callable[[Errors, float], float]
    promise: Callable[[Errors, float], Floats]
    by_rank: bool


class Found(NamedTuple):
    """The bound at the chosen threshold."""

    value: float
    threshold: float
    errors: Errors


class ThresholdChoice(ABC):
    """A way to choose the threshold and, where there are several, the conversion."""

    @abstractmethod
    def best(self, trials: Trials, conversions: Sequence[Conversion], alpha: float) -> Found:
        """Returns a bound that is wrong with probability alpha at most."""


@dataclass(frozen=True, kw_only=True)
class Explicit(ThresholdChoice):
    """A threshold that was fixed without looking at these trials, and the first conversion."""

    threshold: float

    def best(self, trials: Trials, conversions: Sequence[Conversion], alpha: float) -> Found:
        """Returns the bound at the threshold."""
        errors = trials.errors_at(self.threshold)
        return Found(conversions[0].bound(errors, alpha), self.threshold, errors)


@dataclass(frozen=True, kw_only=True)
class Split(ThresholdChoice):
    """Threshold and conversion are chosen on some trials, and the bound is made from the others.

    Attributes:
        fraction: Share of the trials that choose.
        seed: Draws them; the same seed gives the same bound.
    """

    fraction: float = 0.3
    seed: int = 0

    def __post_init__(self) -> None:
        """Validates the fraction: both parts need trials.

        Raises:
            UserError: The fraction is not in (0, 1).
        """
        if not 0 < self.fraction < 1:
            raise UserError(f"Split: fraction {self.fraction!r}", allowed="between 0 and 1")

    def best(self, trials: Trials, conversions: Sequence[Conversion], alpha: float) -> Found:
        """Returns the bound on the trials that did not choose."""
        choosing, judging = trials.split(self.fraction, rng_for(self.seed, "audit split"))
        if choosing.scores.size == 0:
            return Found(0.0, np.inf, judging.errors_at(np.inf))
        thresholds, errors = choosing.curve()
        promises = np.stack([conversion.promise(errors, alpha) for conversion in conversions])
        if promises.max() <= 0:
            # Too few trials to promise anything: the threshold with the fewest errors.
            promises[0] = -np.add(errors.false_positives, errors.false_negatives)
            promises[1:] = -np.inf
        which, vertex = divmod(int(np.argmax(promises)), thresholds.size)
        threshold = float(thresholds[vertex])
        kept = judging.errors_at(threshold)
        return Found(conversions[which].bound(kept, alpha), threshold, kept)


@dataclass(frozen=True, kw_only=True)
class Bonferroni(ThresholdChoice):
    """All trials, at thresholds whose ranks are fixed beforehand; each may err with alpha / number.

    For each rate there are two thresholds: the score of the non-member of that rank, and that of
    the member. The scores at these ranks are random, and so are the true rates there, but the
    usual limits still hold: the rate above the j-th largest of n scores is Beta(j, n - j + 1) at
    most, and the Clopper-Pearson limit is a quantile of the larger Beta(j + 1, n - j); the other
    class is independent of the threshold. This needs separate limits for the two rates.

    Attributes:
        rates: The error rates whose ranks are tried.
    """

    rates: tuple[float, ...] = (0.3, 0.05, 0.005)

    def __post_init__(self) -> None:
        """Validates the rates.

        Raises:
            UserError: There is no rate, or one is not in (0, 1).
        """
        if not self.rates or not all(0 < rate < 1 for rate in self.rates):
            raise UserError(f"Bonferroni: rates {self.rates!r}", allowed="between 0 and 1")

    def best(self, trials: Trials, conversions: Sequence[Conversion], alpha: float) -> Found:
        """Returns the largest of the bounds."""
        usable = [conversion for conversion in conversions if conversion.by_rank]
        thresholds = self._thresholds(trials)
        # Each rate gives two thresholds.
        share = alpha / (2 * len(self.rates) * len(usable))
        found = [Found(0.0, np.inf, trials.errors_at(np.inf))]
        for threshold in thresholds:
            errors = trials.errors_at(threshold)
            found += [Found(each.bound(errors, share), threshold, errors) for each in usable]
        return max(found, key=lambda one: one.value)

    def _thresholds(self, trials: Trials) -> list[float]:
        outside = np.sort(trials.scores[~trials.members])[::-1]
        inside = np.sort(trials.scores[trials.members])
        thresholds = []
        for rate in self.rates:
            if outside.size:
                thresholds.append(float(outside[int(rate * outside.size)]))
            if inside.size:
                # Just above the score, so that members up to and including this rank are missed.
                missed = inside[int(rate * inside.size)]
                thresholds.append(float(np.nextafter(missed, np.inf)))
        return thresholds
