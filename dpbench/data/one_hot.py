"""Categories as bits, next to continuous columns."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dpbench.data.base import Array, Bools


class Encoded(NamedTuple):
    """Columns `(n, d)` float64, continuous ones first, and which of them are bits `(d,)`."""

    columns: Array
    binary: Bools


def encode(continuous: Array, codes: Array, sizes: Sequence[int]) -> Encoded:
    """Puts one bit per category after the continuous columns.

    Args:
        continuous: `(n, a)` numbers.
        codes: `(n, b)` category numbers, column j in 0..sizes[j]-1.
        sizes: Number of categories of each column, by declaration of the data set.
    """
    bits = [np.eye(size)[codes[:, column]] for column, size in enumerate(sizes)]
    columns = np.concatenate([continuous.astype(np.float64), *bits], axis=1)
    return Encoded(columns, np.arange(columns.shape[1]) >= continuous.shape[1])
