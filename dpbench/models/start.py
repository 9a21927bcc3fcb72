"""Networks with their initial weights, or without any that matter."""

from torch import Generator, nn

from dpbench.models.base import Architecture
from dpbench.models.global_draws import global_draws
from dpbench.seeds import seed_for


def start(
    architecture: Architecture, shape: tuple[int, ...], n_classes: int, *, seed: int = 0
) -> nn.Module:
    """Returns the network with the weights that follow from `seed`.

    Layers that initialise themselves draw from torch's global generator, which follows from `seed`
    here, so that they start every time from the same weights.

    Args:
        architecture: The network.
        shape: Shape of one input.
        n_classes: Number of classes C.
        seed: Left out where the weights are replaced anyway.
    """
    with global_draws(seed_for(seed, "global")):
        return architecture.build(shape, n_classes, Generator().manual_seed(seed))
