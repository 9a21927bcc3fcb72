"""A lower bound on epsilon: the theorem about one run, for all models at once."""

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, ndtri, stdtrit

from dpbench.metrics.guesses import Tally, tallies
from dpbench.metrics.one_run_limits import ERROR, ROUNDS, one_run_limits
from dpbench.metrics.roc import Ranking

SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)
"""Shares of the scores that may be guessed, from the top, the bottom, or each end."""

# Choices of guesses are compared to 1/64 of their limits.
_COARSE = 2


def epsilon_lower(
    ranking: Ranking, *, examples: int, delta: float = 0.0, uses_other_bits: bool = True
) -> float:
    """Returns a 95 % lower confidence bound on epsilon.

    M models trained independently, each on its own coin flips, are one mechanism that is
    (epsilon, delta)-DP in each of the M n bits if every training is. So the theorem about one run
    (Steinke et al. 2023, Theorem 5.2) holds for all of them together: of r guesses, no more are
    right than Binomial(r, e^eps / (1 + e^eps)) successes and what delta adds, however the examples
    of a model depend on each other. How many of the highest and lowest scores to guess is chosen on
    the even examples, whose bits may be known, and the odd examples are guessed.

    The theorem wants guesses made from the models alone. Leave-one-out shadows guess one model's
    bit with those of the others, and then the right guesses on an example come in clusters: on
    models that leak nothing, online LiRA's number of right guesses has more than twice the binomial
    variance, and the bare theorem claims a leak in 8 experiments of 100. Whatever the bits of the
    other examples, those of an example keep their odds, so clusters of different examples do not
    add up: the variance is measured with the example as the unit, and guesses, right guesses and
    canaries are divided by the design effect, its ratio to the variance of independent guesses
    (Korn & Graubard 1998). It is never below 1, it is right in the limit of many examples, and d
    examples guessed without one error prove no more than log(d / 3). It would miss an attack whose
    guesses on different examples hang on the same bits.

    Student's limits of FPR and FNR with the model as the unit, the alternative, are blind to those
    clusters too and wider: on the default grid they give 1.9 on average where this gives 2.6.

    Args:
        ranking: Sorted scores; positions are those of a flattened `(M, n)` table.
        examples: The table's n.
        delta: The delta at which epsilon is bounded.
        uses_other_bits: Whether the scores of a model may depend on the bits of the others. If they
            do not, the design effect is 1, and the bound holds for any number of examples.
    """
    is_odd = ranking.order % ranking.order.dtype.type(examples) % 2 == 1
    tried, reported = ranking.pick(~is_odd), ranking.pick(is_odd)
    if reported.order.size == 0 or reported.scores[0] == reported.scores[-1]:
        return 0.0
    choices = _choices(tried)
    limits = _limits(tried, choices, examples, delta, uses_other_bits, rounds=_COARSE)
    best = choices[[int(np.argmax(limits))]]
    return float(_limits(reported, best, examples, delta, uses_other_bits)[0])


def _choices(ranking: Ranking) -> NDArray[np.float64]:
    """Returns `(c, 2)` shares to guess from the top and the bottom.

    The last of each kind is the cut with the largest TPR - FPR, on both sides of it or on one.
    """
    scores, size = ranking.scores, ranking.order.size
    above = 0.5
    if scores[0] > scores[-1]:
        # TPR - FPR, up to a factor, after each score; within equal scores nothing may be cut.
        gain = np.cumsum(ranking.members - ranking.members.mean())
        gain[:-1][scores[1:] == scores[:-1]] = -np.inf
        above = (1 + int(np.argmax(gain[:-1]))) / size
    both = np.array([(share, share) for share in SHARES] + [(above, 1 - above)])
    return np.concatenate([both, both * (1, 0), both * (0, 1)])


def _limits(
    ranking: Ranking,
    choices: NDArray[np.float64],
    examples: int,
    delta: float,
    uses_other_bits: bool,
    *,
    rounds: int = ROUNDS,
) -> NDArray[np.float64]:
    """Returns the limit that each choice of guesses gives, `(c,)`."""
    canaries = ranking.order.size
    tops, bottoms = np.rint(choices * canaries).astype(np.int64).T
    bottoms = np.minimum(bottoms, canaries - tops)
    found = tallies(ranking, tops=tops, bottoms=bottoms, examples=examples)
    guesses, correct = tops + bottoms, np.array([int(tally.right.sum()) for tally in found])
    effect = np.ones(guesses.size)
    if uses_other_bits:
        rates = expit(one_run_limits(canaries, guesses, correct))
        effect = np.array(
            [design_effect(tally, rate) for tally, rate in zip(found, rates.tolist(), strict=True)]
        )
    return one_run_limits(
        canaries / effect, guesses / effect, correct / effect, delta=delta, rounds=rounds
    )


def design_effect(found: Tally, rate: float) -> float:
    """Returns how many times larger the variance is than that of independent guesses; at least 1.

    Both variances are about the rate under test, so that guesses without any error count as one
    cluster per example. The variance of few clusters gets Student's correction.

    Args:
        found: Guesses per example.
        rate: Rate of right guesses to test, below 1.
    """
    wrong, right = int(found.wrong.sum()), int(found.right.sum())
    alone = right * (1 - rate) ** 2 + wrong * rate**2
    if alone == 0:
        return 1.0
    excess = (1 - rate) * found.right - rate * found.wrong
    clusters = int(np.count_nonzero(found.wrong + found.right))
    student = stdtrit(max(1, clusters - 1), 1 - ERROR) / ndtri(1 - ERROR)
    return max(1.0, float(student**2 * (excess @ excess) / alone))
