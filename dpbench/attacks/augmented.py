"""The views of an image that attacks query: mirrored and shifted copies, in a fixed order."""

from collections.abc import Iterator
from itertools import count, islice, product

from dpbench.attacks.base import Floats
from dpbench.attacks.image_copies import shifted


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
        yield shifted(inputs[..., ::-1] if mirrored else inputs, down, right)


def _shifts() -> Iterator[tuple[int, int]]:
    yield 0, 0
    for radius in count(1):
        reach = range(-radius, radius + 1)
        yield from (shift for shift in product(reach, reach) if max(map(abs, shift)) == radius)
