"""Statistics of many models and points, a block of points at a time.

Statistics of shadows need a dozen arrays as large as all scores. Computed for a block of points at
a time they need little memory, and no bit of any number changes.
"""

from collections.abc import Callable, Iterator

import numpy as np

from dpbench.arrays import Floats

_AT_ONCE = 2**20
"""Pairs of model and point in a block; NumPy adds up rows in pieces of 128."""
_PIECE = 128

Block = tuple[int, int]
"""The points from one number up to, not including, another."""


def blocks(shape: tuple[int, ...]) -> Iterator[Block]:
    """Yields the blocks of `(M, n)` in order: halves of halves, where NumPy divides a sum."""
    yield from _halved(0, shape[1], max(_PIECE, _AT_ONCE // shape[0]))


def row_sums(shape: tuple[int, ...], part: Callable[[Block], Floats]) -> Floats:
    """Returns the sums over n points, to the last bit those of `part((0, n)).sum(-1)`.

    Args:
        shape: `(M, n)`.
        part: Returns the terms `(..., b)` of a block of b points.
    """
    return _sums(0, shape[1], max(_PIECE, _AT_ONCE // shape[0]), part)


def _halved(first: int, stop: int, most: int) -> Iterator[Block]:
    if stop - first <= most:
        yield first, stop
        return
    middle = _middle(first, stop)
    yield from _halved(first, middle, most)
    yield from _halved(middle, stop, most)


def _sums(first: int, stop: int, most: int, part: Callable[[Block], Floats]) -> Floats:
    if stop - first <= most:
        # NumPy sums pairwise only along an axis that is contiguous.
        total: Floats = np.ascontiguousarray(part((first, stop))).sum(-1)
        return total
    middle = _middle(first, stop)
    return _sums(first, middle, most, part) + _sums(middle, stop, most, part)


def _middle(first: int, stop: int) -> int:
    # NumPy's pairwise sum halves at a multiple of 8, the unrolling of its inner loop.
    half = (stop - first) // 2
    return first + half - half % 8
