"""A network: an architecture with the inputs and classes it is built for."""

from functools import lru_cache
from typing import NamedTuple

from dpbench.models.base import Architecture
from dpbench.models.build import built


class Network(NamedTuple):
    """An architecture and the inputs and classes it is built for.

    Attributes:
        architecture: The network.
        shape: Shape of one input.
        n_classes: Number of classes C.
    """

    architecture: Architecture
    shape: tuple[int, ...]
    n_classes: int

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return _parameters(self)


@lru_cache(maxsize=64)
def _parameters(network: Network) -> int:
    """Counts once for all the cells of a grid that train the same network."""
    module = built(network.architecture, network.shape, network.n_classes)
    return sum(parameter.numel() for parameter in module.parameters())
