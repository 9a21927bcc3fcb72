"""The views of an image that attacks query: mirrored and shifted copies, in a fixed order."""

from collections.abc import Iterator
from itertools import count, islice, product

import numpy as np

from dpbench.attacks.base import Floats


def augmented(inputs: Floats, queries: int) -> Iterator[Floats | None]:
    """Yields `queries` versions of all inputs; None stands for the inputs themselves.

    The order is: as it is, mirrored left to right; then, for shifts of up to 1, 2, ... pixels, each
    shift as it is and mirrored. Pixels that a shift uncovers repeat the edge.

    Args:
        inputs: `(n, channels, height, width)`; of any shape when `queries` is 1.
        queries: How many versions.
    """
    yield None
    versions = ((shift, mirrored) for shift in _shifts() for mirrored in (False, True))
    for (down, right), mirrored in islice(versions, 1, queries):
        yield _shifted(inputs[..., ::-1] if mirrored else inputs, down, right)


def _shifts() -> Iterator[tuple[int, int]]:
    yield 0, 0
    for radius in count(1):
        reach = range(-radius, radius + 1)
        yield from (shift for shift in product(reach, reach) if max(map(abs, shift)) == radius)


def _shifted(images: Floats, down: int, right: int) -> Floats:
    height, width = images.shape[-2:]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return np.ascontiguousarray(images[..., rows[:, None], columns])
