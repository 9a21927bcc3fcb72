"""A lower bound on epsilon: the theorem about one run, for all models at once."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri, stdtrit

from dpbench.metrics.guesses import Tally, tallies
from dpbench.metrics.one_run_limits import ERROR, ROUNDS, one_run_limits, p_values
from dpbench.metrics.roc import Ranking

SHARES = (*(0.0005 * 1.5 ** np.arange(18)).tolist(), 0.5)
"""Shares of the scores that may be guessed, from the top, the bottom, or each end."""

# Choices of guesses are compared to 1/64 of their limits.
_COARSE = 2


class LowerBound(NamedTuple):
    """A lower bound on epsilon, and the guesses that prove it.

    Attributes:
        epsilon: The 95 % lower confidence bound.
        canaries: Bits that were fair coins; like the guesses, an effective number.
        guesses: How many bits were guessed.
        correct: How many guesses were right.
        choices: How many choices of guesses share the error of 5 %.
    """

    epsilon: float
    canaries: float = 0.0
    guesses: float = 0.0
    correct: float = 0.0
    choices: int = 1

    def p_value(self, epsilon: float, delta: float) -> float:
        """Returns the most probability of such guesses if each training is (epsilon, delta)-DP."""
        if self.correct <= 0 or math.isinf(epsilon):
            return 1.0
        counts = (np.array([count]) for count in (epsilon, *self[1:4]))
        return min(1.0, self.choices * float(p_values(*counts, delta=delta)[0]))


def epsilon_lower(
    ranking: Ranking, *, examples: int, delta: float = 0.0, uses_other_bits: bool = True
) -> LowerBound:
    """Returns a 95 % lower confidence bound on epsilon.

    M models trained independently, each on its own coin flips, are one mechanism that is
    (epsilon, delta)-DP in each of the M n bits if every training is. So the theorem about one run
    (Steinke et al. 2023, Theorem 5.2) holds for all of them together: of r guesses, no more are
    right than Binomial(r, e^eps / (1 + e^eps)) successes and what delta adds, however the examples
    of a model depend on each other.

    How many of the highest and lowest scores to guess comes from a list that no bit enters. Without
    delta, every choice guesses all examples with its part of the error (Bonferroni), and the
    largest limit counts, which moves only as far as a limit moves. Choosing on half of the examples
    and guessing the other half is no stronger, and luck decides: another order of the examples
    moves that bound by up to 3. With delta, what the theorem allows for failures would be paid for
    every choice. So the choice is made on the even examples, whose bits may be known, and the odd
    ones are guessed; bounds are far from the largest provable one there, and steady.

    The theorem wants guesses made from the models alone. Leave-one-out shadows guess one model's
    bit with those of the others, and then the right guesses on an example come in clusters: on
    models that leak nothing, online LiRA's number of right guesses has more than twice the binomial
    variance, and the bare theorem claims a leak too often. Whatever the bits of the other examples,
    those of an example keep their odds, so clusters of different examples do not add up: the
    variance is measured with the example as the unit, and guesses, right guesses and canaries are
    divided by the design effect, its ratio to the variance of independent guesses (Korn & Graubard
    1998). It is never below 1, it is right in the limit of many examples, and d examples guessed
    without one error prove no more than log(d / 7). It would miss an attack whose guesses on
    different examples hang on the same bits.

    Args:
        ranking: Sorted scores; positions are those of a flattened `(M, n)` table.
        examples: The table's n.
        delta: The delta at which epsilon is bounded.
        uses_other_bits: Whether the scores of a model may depend on the bits of the others. If they
            do not, the design effect is 1, and the bound holds for any number of examples.
    """
    reported, shares = ranking, np.array(SHARES)
    shares = np.concatenate([np.outer(shares, ends) for ends in ((1, 1), (1, 0), (0, 1))])
    if delta > 0:
        is_odd = (ranking.order % ranking.order.dtype.type(examples) & 1).astype(np.bool_)
        tried, reported = ranking.pick(~is_odd), ranking.pick(is_odd)
        limits = _bounds(tried, shares, examples, delta, uses_other_bits, rounds=_COARSE)[0]
        shares = shares[[int(np.argmax(limits))]]
    if reported.order.size == 0 or reported.scores[0] == reported.scores[-1]:
        return LowerBound(0.0)
    found = np.stack(_bounds(reported, shares, examples, delta, uses_other_bits))
    limit, canaries, guesses, correct = found[:, int(np.argmax(found[0]))].tolist()
    return LowerBound(limit, canaries, guesses, correct, found.shape[1])


def _bounds(
    ranking: Ranking,
    shares: NDArray[np.float64],
    examples: int,
    delta: float,
    uses_other_bits: bool,
    *,
    rounds: int = ROUNDS,
) -> list[NDArray[np.float64]]:
    """Returns limits, canaries, guesses and right guesses of each choice, `(c,)`.

    Without delta, the choices share the error, and those that come to the same counts are one.

    Args:
        ranking: Sorted scores.
        shares: `(c, 2)` shares of the scores to guess from the top and from the bottom.
        examples: The table's n.
        delta: The delta at which epsilon is bounded.
        uses_other_bits: Whether the counts are divided by the design effect.
        rounds: Of `one_run_limits`.
    """
    canaries = ranking.order.size
    counts = np.rint(shares * canaries).astype(np.int64)
    if delta == 0:
        # Small tables round several shares to the same counts; paying for them twice proves less.
        counts = np.unique(counts[counts.sum(axis=1) > 0], axis=0)
    tops, bottoms = counts.T
    # A score is guessed once, even where top and bottom would overlap.
    bottoms = np.minimum(bottoms, canaries - tops)
    error = ERROR / (len(counts) if delta == 0 else 1)
    found = tallies(ranking, tops=tops, bottoms=bottoms, examples=examples)
    guesses, correct = tops + bottoms, np.array([int(tally.right.sum()) for tally in found])
    effect = np.ones(guesses.size)
    if uses_other_bits:
        rates = expit(one_run_limits(canaries, guesses, correct, error=error)).tolist()
        pairs = zip(found, rates, strict=True)
        effect = np.array([design_effect(tally, rate, error) for tally, rate in pairs])
    effective = [canaries / effect, guesses / effect, correct / effect]
    return [one_run_limits(*effective, delta=delta, error=error, rounds=rounds), *effective]


def design_effect(found: Tally, rate: float, error: float = ERROR) -> float:
    """Returns how many times larger the variance is than that of independent guesses; at least 1.

    Both variances are about the rate under test, so that guesses without any error count as one
    cluster per example. The variance of few clusters gets Student's correction.

    Args:
        found: Guesses per example.
        rate: Rate of right guesses to test, below 1.
        error: Of the limit that is corrected.
    """
    wrong, right = int(found.wrong.sum()), int(found.right.sum())
    alone = right * (1 - rate) ** 2 + wrong * rate**2
    if alone == 0:
        return 1.0
    excess = (1 - rate) * found.right - rate * found.wrong
    clusters = int(np.count_nonzero(found.wrong + found.right))
    student = stdtrit(max(1, clusters - 1), 1 - error) / ndtri(1 - error)
    return max(1.0, float(student**2 * (excess @ excess) / alone))
