"""Construction and initialisation that leave the global random state alone."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Generator, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from dpbench.errors import UserError

_M = TypeVar("_M", bound=nn.Module)


def materialise(construct: Callable[[], _M], generator: Generator) -> _M:
    """Builds a module without drawing its weights, then draws them from `generator` alone.

    Args:
        construct: Returns the module; runs under the meta device, where nothing is drawn.
        generator: A CPU generator, so that equal seeds give equal weights on every device.

    Raises:
        UserError: The module has a layer that `initialise` does not know.
    """
    with torch.device("meta"):
        module = construct()
    module.to_empty(device="cpu")
    initialise(module, generator)
    return module


def require_no_batch_norm(module: nn.Module) -> None:
    """Refuses BatchNorm, which makes an example's gradient depend on the others in its batch.

    Raises:
        UserError: A layer is BatchNorm.
    """
    for name, part in module.named_modules():
        if isinstance(part, _BatchNorm):
            raise UserError(
                f"model: layer '{name}' is {type(part).__name__}",
                allowed="layers that treat each example alone",
                next_step="use GroupNorm or LayerNorm",
            )


@torch.no_grad()
def initialise(module: nn.Module, generator: Generator) -> None:
    """Draws all parameters from PyTorch's default distributions, in the order of the modules.

    Linear and convolution weights are Kaiming uniform with a = sqrt(5) (He et al. 2015, as
    `nn.Linear.reset_parameters` has it), which is uniform on ±1/sqrt(fan_in), and so are their
    biases; normalisation layers start at the identity.

    Raises:
        UserError: A layer is BatchNorm, keeps buffers, or has parameters of another kind.
    """
    require_no_batch_norm(module)
    for name, part in module.named_modules():
        own = list(part.parameters(recurse=False))
        _require_known(part, name=name, has_parameters=bool(own))
        if isinstance(part, nn.Linear | _ConvNd):
            bound = part.weight[0].numel() ** -0.5
            for parameter in own:
                parameter.uniform_(-bound, bound, generator=generator)
        elif isinstance(part, nn.LayerNorm | nn.GroupNorm) and own:
            nn.init.ones_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def _require_known(part: nn.Module, *, name: str, has_parameters: bool) -> None:
    known = isinstance(part, nn.Linear | _ConvNd | nn.LayerNorm | nn.GroupNorm)
    if any(True for _ in part.buffers(recurse=False)) or (has_parameters and not known):
        raise UserError(
            f"model: layer '{name}' ({type(part).__name__}) has values with no known default",
            allowed="Linear, convolutions, LayerNorm, GroupNorm",
            next_step="build the network from these, or initialise it in your own Architecture",
        )
