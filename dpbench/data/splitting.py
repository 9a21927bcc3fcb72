"""Duplicates out, then three disjoint parts: pool, test and reference."""

from typing import NamedTuple

import numpy as np

from dpbench.data.base import Array, Ints
from dpbench.errors import UserError
from dpbench.seeds import rng_for

TEST_CAP = 10_000
"""Test examples taken when a population does not say how many."""

MIN_REFERENCE = 20
"""Public examples without which nothing can be standardised."""


def first_occurrences(inputs: Array) -> Ints:
    """Returns the ascending indices `(k,)` of rows `(n, *shape)` that repeat no earlier row.

    Rows are compared by their inputs alone: the same input under two labels would still carry
    information about one example into another.
    """
    # Adding zero turns -0.0, which equals 0.0 but has other bytes, into 0.0.
    plain = inputs + 0.0 if inputs.dtype.kind == "f" else inputs
    rows = np.ascontiguousarray(plain).reshape(len(inputs), -1)
    width = rows.shape[1] * rows.itemsize
    _, first = np.unique(rows.view(np.dtype((np.void, width))).ravel(), return_index=True)
    return np.sort(first).astype(np.int64)


class DataSplit(NamedTuple):
    """Indices of three disjoint parts."""

    pool: Ints
    test: Ints
    reference: Ints


def split(
    train: Ints,
    official_test: Ints,
    *,
    pool: int,
    test: int | None,
    reference: int | None,
    seed: int,
) -> DataSplit:
    """Draws the three parts by seeded permutations.

    Args:
        train: Indices of the distinct rows of the training part.
        official_test: Those of the official test part; empty where there is none, and then the test
            set is carved out of `train`.
        pool: Number of pool examples.
        test: Number of test examples; None takes all official ones, or a fifth of `train` but no
            more than half of what the pool leaves, and at most `TEST_CAP`.
        reference: Number of public examples; None takes what is left, at most `pool`.
        seed: The grid's seed.

    Raises:
        UserError: A part asks for more than there is.
    """
    carved = len(official_test) == 0
    # Where the test set is carved out, what a large pool leaves is shared with the reference set.
    public, left = reference or MIN_REFERENCE, len(train) - pool
    carvable = max(1, min(len(train) // 5, left // 2, left - public))
    n_test = test or min(TEST_CAP, carvable if carved else len(official_test))
    if not carved and n_test > len(official_test):
        raise UserError(
            f"population.test: {n_test:,} is more than the official test part holds",
            allowed=f"1 to {len(official_test):,}",
        )
    taken = (n_test if carved else 0) + public
    if pool + taken > len(train):
        raise UserError(
            f"population.pool: {pool:,} is more than is available: of {len(train):,} distinct "
            f"examples, {taken:,} are for {'the test and ' if carved else ''}the reference set",
            allowed=f"at most {max(0, len(train) - taken):,}",
        )
    chosen = rng_for(seed, "split", "test").permutation(train if carved else official_test)[:n_test]
    rest = np.setdiff1d(train, chosen)
    order = rng_for(seed, "split").permutation(rest)
    n_reference = reference or min(pool, len(rest) - pool)
    return DataSplit(pool=order[:pool], test=chosen, reference=order[pool : pool + n_reference])
