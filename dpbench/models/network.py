"""A network: an architecture with the inputs and classes it is built for."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from dpbench.models.base import Architecture
from dpbench.models.build import built
from dpbench.models.dense_layer import DenseArchitecture, DenseLayer


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
    def dense_layers(self) -> Sequence[DenseLayer] | None:
        """The layers of a network of affine layers, and None for any other.

        Engines and queries are chosen by this alone.
        """
        if isinstance(self.architecture, DenseArchitecture):
            return self.architecture.layers(self.shape, self.n_classes)
        return None

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return _parameters(self)


@lru_cache(maxsize=64)
def _parameters(network: Network) -> int:
    """Counts once for all the cells of a grid that train the same network."""
    module = built(network.architecture, network.shape, network.n_classes)
    return sum(parameter.numel() for parameter in module.parameters())
