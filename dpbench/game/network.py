"""What a cell trains: the grid's network and inputs, or what its defense makes of them."""

from functools import lru_cache

import torch

from dpbench.data import Population
from dpbench.defenses import Composition
from dpbench.models.base import Architecture
from dpbench.models.network import Network


def network_of(architecture: Architecture, population: Population, defense: Composition) -> Network:
    """Returns the network that a cell with this defense trains.

    Args:
        architecture: The grid's.
        population: The data.
        defense: May change the network and what it is given.
    """
    shape = population.shape
    if defense.represents:
        shape = _represented(defense, shape)
    return Network(defense.remodel(architecture), shape, population.n_classes)


@lru_cache(maxsize=64)
def _represented(defense: Composition, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(defense.represent(torch.zeros(1, *shape)).shape[1:])
