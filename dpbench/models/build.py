"""Networks with their initial weights, or without any that matter."""

from torch import Generator, nn

from dpbench.errors import UserError
from dpbench.faults import is_fault
from dpbench.models.base import Architecture
from dpbench.models.global_draws import global_draws
from dpbench.seeds import seed_for


def built(
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

    Raises:
        UserError: It cannot be built, or the shape of a layer is open before its first use.
    """
    with global_draws(seed_for(seed, "global")):
        try:
            network = architecture.build(shape, n_classes, Generator().manual_seed(seed))
        except Exception as error:
            if isinstance(error, UserError) or is_fault(error):
                raise
            raise UserError(
                f"model: '{architecture.label()}' cannot be built for inputs of shape {shape} and "
                f"{n_classes} classes: {type(error).__name__}: {error}",
                next_step="mend the architecture's build",
            ) from error
    if not isinstance(network, nn.Module):  # a plugin may return anything
        raise UserError(
            f"model: '{architecture.label()}' builds a {type(network).__name__}",
            allowed="a torch.nn.Module",
        )
    for name, parameter in network.named_parameters():
        if nn.parameter.is_lazy(parameter):
            layer = name.rpartition(".")[0]  # type: ignore[unreachable]
            kind = type(network.get_submodule(layer)).__name__
            raise UserError(
                f"model: layer '{layer}' ({kind}) has no shape before its first use",
                next_step="give the layer its sizes",
            )
    return network
