"""Limits of the theorem about one run, for many counts at once that need not be whole."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, betaincinv, expit, logit

Limits = NDArray[np.float64]

ERROR = 0.05
"""Probability that a limit lies above epsilon, unless another is asked for."""

ROUNDS = 9
"""Enough to find a limit to 1e-8 of it."""

# Each round looks at the inner edges of eight parts.
_EDGES = np.arange(1, 8) / 8


def one_run_limits(
    canaries: ArrayLike,
    guesses: ArrayLike,
    correct: ArrayLike,
    *,
    delta: float = 0.0,
    error: float = ERROR,
    rounds: int = ROUNDS,
) -> Limits:
    """Returns lower limits of epsilon from right guesses. Steinke et al. 2023, Theorem 5.2.

    `dpbench.privacy.epsilon_one_run`, with the binomial tail continued between whole numbers (the
    incomplete beta function), as effective numbers of guesses are not whole (Korn & Graubard 1998).
    That function finds one limit to 1e-9; here limits are rounded down.

    Args:
        canaries: Bits that were independent fair coins. All arrays broadcast.
        guesses: How many of them were guessed.
        correct: How many guesses were right.
        delta: The delta at which epsilon is bounded.
        error: Probability that a limit lies above epsilon.
        rounds: The limit is rounded down to 8^-rounds of the limit at delta 0.
    """
    total, made, hits = np.broadcast_arrays(
        *(np.asarray(counts, dtype=float) for counts in (canaries, guesses, correct))
    )
    some = hits > 0
    made, hits = np.where(some, made, 1.0), np.where(some, hits, 1.0)
    # Without delta: the rate at which that many right guesses have that probability.
    rate = np.minimum(betaincinv(hits, made - hits + 1, error), 1 - np.finfo(float).eps)
    high: Limits = np.where(some, np.maximum(0.0, logit(rate)), 0.0)
    if delta == 0:
        return high
    total, made, hits = total[..., None], made[..., None], hits[..., None]
    low, high = np.zeros_like(total), high[..., None]
    for _ in range(rounds):
        inner = low + (high - low) * _EDGES
        below = p_values(inner, total, made, hits, delta=delta) < error
        edges = np.concatenate([low, inner, high], axis=-1)
        part = np.count_nonzero(below, axis=-1, keepdims=True)
        low, high = (np.take_along_axis(edges, part + end, axis=-1) for end in (0, 1))
    return low[..., 0]


def p_values(
    epsilon: Limits, canaries: Limits, guesses: Limits, correct: Limits, *, delta: float
) -> Limits:
    """Returns the probability, under (epsilon, delta)-DP, of that many right guesses.

    P[X >= v] + 2 m delta max_i P[v - i <= X < v] / i, with X binomial and i = 1, 2, ... The maximum
    is the largest average of the last i probabilities below v. Going down from v these rise to the
    mode and fall after it, so their average rises to one maximum, not before the mode and within
    ten deviations of it or of v. Halving finds it.
    """
    rate = expit(epsilon)

    def at_least(hits: Limits) -> Limits:
        some = hits > 0
        asked = np.where(some, hits, 1.0)
        tail: Limits = np.where(some, betainc(asked, guesses - asked + 1, rate), 1.0)
        return tail

    tail = at_least(correct)

    def average(count: Limits) -> Limits:
        return (at_least(correct - count) - tail) / count

    mode, deviation = guesses * rate, np.sqrt(guesses * rate * (1 - rate))
    most = np.maximum(1.0, np.floor(correct))
    first = np.clip(np.floor(correct - mode) - 2, 1.0, most)
    last = np.minimum(first + np.ceil(10 * deviation) + 10, most)
    while np.any(first < last):
        middle = np.floor((first + last) / 2)
        falls = average(middle + 1) <= average(middle)
        first, last = np.where(falls, first, middle + 1), np.where(falls, middle, last)
        first = np.minimum(first, last)
    chance: Limits = np.minimum(1.0, tail + 2 * canaries * delta * average(first))
    return chance
