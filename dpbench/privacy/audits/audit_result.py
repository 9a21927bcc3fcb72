"""The result of an audit, with the counts and assumptions behind it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.errors import UserError

Count = int | NDArray[np.int64]


class Errors(NamedTuple):
    """Wrong decisions at one threshold, or at each of an array of thresholds.

    Attributes:
        false_positives: Non-members called members.
        non_members: Decisions about non-members.
        false_negatives: Members called non-members.
        members: Decisions about members.
    """

    false_positives: Count
    non_members: Count
    false_negatives: Count
    members: Count


class OneRunGuesses(NamedTuple):
    """The guesses of a one-run audit.

    Attributes:
        canaries: Canaries in the run, guessed or not.
        guesses: How many of them were guessed.
        correct: How many guesses were right.
    """

    canaries: int
    guesses: int
    correct: int


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """A lower bound on epsilon.

    Attributes:
        epsilon: With probability `confidence` or more, the mechanism's epsilon at `delta` is at
            least this. 0 claims nothing.
        method: Name of the audit.
        confidence: Probability that the bound holds, over the training and the bits.
        delta: The delta at which epsilon is bounded.
        threshold: Scores at or above it were called members; inf if none were.
        counts: The counts on other data than those that chose the threshold.
        assumes: The assumptions on data and mechanism under which the bound holds.
    """

    epsilon: float
    method: str
    confidence: float
    delta: float
    threshold: float
    counts: Errors | OneRunGuesses
    assumes: str


def median_audit(results: Sequence[AuditResult]) -> AuditResult:
    """Returns one bound from several that may depend on each other in any way.

    The bound that at least half of the audits reach. If each holds with probability 1 - a, it holds
    with probability 1 - 2a: by Markov's inequality, half of the audits err at once with probability
    2a at most (twice the median of p-values is a p-value, Meinshausen et al. 2009, section 3). So
    audits made at 97.5 % give 95 %. Good for the one-run audits of each of M models, whose scores
    are linked by shared shadow models, and for repeated random draws.

    Args:
        results: Bounds of the same method, at the same confidence and delta.

    Raises:
        UserError: There is no result, or methods, confidences or deltas differ.
    """
    kinds = {(result.method, result.confidence, result.delta) for result in results}
    if len(kinds) != 1:
        raise UserError(
            f"median_audit: {len(results)} results of {len(kinds)} kinds cannot be combined",
            allowed="one or more results of one method, at one confidence and one delta",
        )
    ranked = sorted(results, key=lambda result: result.epsilon, reverse=True)
    middle = ranked[math.ceil(len(ranked) / 2) - 1]
    return AuditResult(
        epsilon=middle.epsilon,
        method=f"{middle.method}, median of {len(ranked)}",
        # Without rounding, 0.95 becomes 0.8999999999999999.
        confidence=round(1 - 2 * (1 - middle.confidence), 12),
        delta=middle.delta,
        threshold=middle.threshold,
        counts=middle.counts,
        assumes=middle.assumes,
    )


def error_probability(confidence: float, delta: float, *, method: str) -> float:
    """Checks the two arguments that all audits share, and returns 1 - confidence.

    Raises:
        UserError: The confidence is not in (0.5, 1), or delta not in [0, 1).
    """
    if not 0.5 < confidence < 1:
        raise UserError(f"{method}: confidence {confidence!r}", allowed="above 0.5, below 1")
    if not 0 <= delta < 1:
        raise UserError(f"{method}: delta {delta!r}", allowed="0 up to, but not including, 1")
    return 1 - confidence
