"""What a cell trains: the grid's network and inputs, or what its defense makes of them."""

from functools import lru_cache
from typing import NamedTuple

import torch

from dpbench.data import Population
from dpbench.defenses import Composition
from dpbench.models.base import Architecture
from dpbench.models.build import built


class Network(NamedTuple):
    """An architecture and the inputs and classes it is built for.

    Attributes:
        architecture: The network.
        shape: Shape of one represented input.
        n_classes: Number of classes C.
    """

    architecture: Architecture
    shape: tuple[int, ...]
    n_classes: int

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return _parameters(self.architecture, self.shape, self.n_classes)


def network_of(architecture: Architecture, population: Population, defense: Composition) -> Network:
    """Returns the network that a cell with this defense trains.

    Args:
        architecture: The grid's.
        population: The data.
        defense: May change the network and what it is given.
    """
    shape = population.shape
    if defense.represents:
        shape = tuple(defense.represent(torch.zeros(1, *shape)).shape[1:])
    return Network(defense.remodel(architecture), shape, population.n_classes)


@lru_cache(maxsize=64)
def _parameters(architecture: Architecture, shape: tuple[int, ...], n_classes: int) -> int:
    """Counts once for all the cells of a grid that train the same network."""
    module = built(architecture, shape, n_classes)
    return sum(parameter.numel() for parameter in module.parameters())
