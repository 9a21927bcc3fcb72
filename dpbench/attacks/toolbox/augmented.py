"""The views of an image that attacks query: mirrored and shifted copies, in a fixed order."""

from collections.abc import Iterator
from itertools import count, islice, product

from dpbench.arrays import Floats
from dpbench.attacks.toolbox.image_copies import shifted


def augmented(inputs: Floats, queries: int, *, mirrored: bool = True) -> Iterator[Floats | None]:
    """Yields `queries` versions of all inputs; None stands for the inputs themselves.

    The order is: as it is, mirrored left to right; then, for shifts of up to 1, 2, ... pixels, each
    shift as it is and mirrored. Pixels that a shift uncovers repeat the edge.

    Args:
        inputs: `(n, channels, height, width)`; of any shape when `queries` is 1.
        queries: How many versions.
        mirrored: Mirror images are among them; otherwise the order is that of the shifts alone.
    """
    # The points themselves were observed already; only other inputs must be given to the oracle.
    yield None
    sides = (False, True) if mirrored else (False,)
    versions = ((shift, turned) for shift in _shifts() for turned in sides)
    for (down, right), turned in islice(versions, 1, queries):
        yield shifted(inputs[..., ::-1] if turned else inputs, down, right)


def _shifts() -> Iterator[tuple[int, int]]:
    yield 0, 0
    for radius in count(1):
        reach = range(-radius, radius + 1)
        yield from (shift for shift in product(reach, reach) if max(map(abs, shift)) == radius)
