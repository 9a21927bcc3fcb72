"""Tests whether a table of membership bits can come from independent coins.

Lower bounds on epsilon need bits of other models that reveal nothing about one model's. Balanced
bits do reveal it: if each example is in exactly half of the models, an example that is in few of
the others is in this one. Scores that use no model then prove any epsilon.

Every test is exact or conservative: fair coins fail one of them with a probability of less than
1e-6, whatever the shape of the table.
"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import bdtr, gammaln

from dpbench.arrays import Bools
from dpbench.errors import UserError

# Error probability of each of the eight tests.
LEVEL = 1e-7
# Columns are compared in blocks, so that the products of all pairs need not fit into memory.
_BLOCK = 1024
# Tables with more columns have too many pairs to compare; they are not tested for similarity.
_MOST_COLUMNS = 8192


def require_unbalanced(members: Bools) -> None:
    """Refuses bits `(M, n)` if the examples are in nearly the same number of models.

    Independent bits pass, fair or not, if all models draw an example with one probability.

    Raises:
        UserError: The counts of the examples spread less than those of independent coins.
    """
    _refuse(_too_even(members, "example", "models"))


def require_fair(members: Bools) -> None:
    """Refuses bits `(M, n)` that do not come from independent fair coins.

    Raises:
        UserError: Counts of the examples or models spread too little or too much, or two of them
            are too much alike or too much opposed.
    """
    examples, models = ("example", "models"), ("model", "examples")
    _refuse(
        _too_even(members, *examples)
        or _too_even(members.T, *models)
        or _too_uneven(members, *examples)
        or _too_uneven(members.T, *models)
        or _too_similar(members, *examples)
        or _too_similar(members.T, *models)
    )


def _refuse(reason: str) -> None:
    if reason:
        raise UserError(
            f"members: {reason}, which independent fair coins do not give",
            allowed="bits drawn by a fair coin for each model and example, independently",
            next_step="draw them anew: the other models' bits must not betray this one's",
        )


def _too_even(bits: Bools, column: str, rows: str) -> str:
    counts = np.count_nonzero(bits, axis=0)
    if _spread_log_p(counts, len(bits), sign=-1) >= math.log(LEVEL):
        return ""
    if counts.min() == counts.max():
        return f"each {column} is in exactly {counts[0]} of the {len(bits)} {rows}"
    typical = math.sqrt(float(np.mean((2.0 * counts - len(bits)) ** 2))) / 2
    return (
        f"each {column} is in {len(bits) / 2:g} +- {typical:.2g} of the {len(bits)} {rows}, not in "
        f"+- {math.sqrt(len(bits)) / 2:.2g}"
    )


def _too_uneven(bits: Bools, column: str, rows: str) -> str:
    counts = np.count_nonzero(bits, axis=0)
    if _spread_log_p(counts, len(bits), sign=1) >= math.log(LEVEL):
        return ""
    return f"{column}s are in {counts.min()} to {counts.max()} of the {len(bits)} {rows}"


def _too_similar(bits: Bools, column: str, rows: str) -> str:
    """Returns which two columns agree too much or too little, each tested at LEVEL."""
    coins, columns = bits.shape
    if not 2 <= columns <= _MOST_COLUMNS:
        return ""
    # The union bound over all pairs. Agreements are Binomial(coins, 1/2), whose tails are equal.
    pairs, shared = columns * (columns - 1) / 2, _agreements(bits)
    for agree in shared:
        if pairs * bdtr(min(agree, coins - agree), coins, 0.5) < LEVEL:
            return f"two {column}s agree in {agree} of the {coins} {rows}"
    return ""


def _spread_log_p(counts: NDArray[np.int64], coins: int, *, sign: int) -> float:
    """Returns an upper bound on the log-probability that fair coins spread as much, or as little.

    The statistic is the sum of (2 count - coins)^2, whose terms are independent; the bound is
    Chernoff's, exact where all counts are half of the coins.

    Args:
        counts: Heads of each line, shape `(lines,)`.
        coins: Coins of each line.
        sign: -1 for a spread of at most the given one, 1 for at least that.
    """
    heads = np.arange(coins + 1)
    log_mass = gammaln(coins + 1) - gammaln(heads + 1) - gammaln(coins - heads + 1)
    log_mass -= coins * math.log(2)
    # Scaled to a mean of 1, so that one range of tilts serves every shape.
    squares = (2.0 * heads - coins) ** 2 / coins
    seen = float(np.mean((2.0 * counts - coins) ** 2)) / coins

    def bound(log_tilt: float) -> float:
        tilt = sign * math.exp(log_tilt)
        exponents = log_mass + tilt * (squares - seen)
        largest = float(exponents.max())
        return largest + math.log(float(np.exp(exponents - largest).sum()))

    least = float(minimize_scalar(bound, bounds=(-12.0, 12.0), method="bounded").fun)
    return min(0.0, counts.size * least)


def _agreements(bits: Bools) -> tuple[int, int]:
    """Returns the fewest and the most bits that any two columns share."""
    coins, columns = bits.shape
    # A product of signs is agreements minus disagreements. Single precision is exact: all terms of
    # these sums are +-1.
    signs = np.where(bits, np.float32(1), np.float32(-1))
    least, most = coins, -coins
    for start in range(0, columns - 1, _BLOCK):
        products = signs[:, start : start + _BLOCK].T @ signs[:, start:]
        others = products[np.triu(np.ones(products.shape, dtype=np.bool_), 1)]
        least, most = min(least, int(others.min())), max(most, int(others.max()))
    return (coins + least) // 2, (coins + most) // 2
