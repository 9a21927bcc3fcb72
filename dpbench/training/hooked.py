"""Per-example gradients by Opacus, which knows a rule for each kind of layer.

Opacus takes two seconds to import: only private training imports this module.
"""

import copy
import warnings
from typing import Any, ClassVar, cast

import torch
from opacus.grad_sample import GradSampleHooks
from torch import Tensor, nn
from torch.nn import functional

from dpbench.training.example_gradients import Losses, leave, slow_rules_allowed, trained


class Hooked:
    """Hooks Opacus' rules into a network."""

    def __init__(self, network: nn.Module) -> None:
        self._network, self._trained = network, list(trained(network).values())
        for part in network.modules():
            if isinstance(part, nn.Conv2d):
                part.register_forward_pre_hook(in_rows)
        _Rules(network, loss_reduction="sum")

    def leave(self, inputs: Tensor, targets: Tensor, losses: Losses) -> None:
        """Leaves the gradients; see `ExampleGradients`.

        Raises:
            RuntimeError: A layer was asked whose answer was not used: Opacus would go on waiting.
        """
        for parameter in self._trained:
            cast(Any, parameter).grad_sample = None
        with slow_rules_allowed():
            # Opacus hooks the first layer too, whose inputs need no gradient; torch warns about it
            # since https://github.com/pytorch/pytorch/pull/155339.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            torch.autograd.backward(losses(self._network(inputs), targets).sum())
        for parameter in self._trained:
            if cast(Any, parameter)._forward_counter:
                raise RuntimeError("a layer was asked whose answer was not used")
            if cast(Any, parameter).grad_sample is None:  # it had no part in the outputs
                leave(parameter, parameter.new_zeros(len(inputs), *parameter.shape))


def in_rows(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Lays a convolution's inputs out row by row, which costs nothing if they are so already.

    Opacus 1.6 unfolds activations with strides that hold for this layout only
    (`opacus.utils.tensor_utils.unfold2d`): on channels_last inputs its per-example gradients are
    silently wrong. Flattening also mends the ambiguous strides of 1x1 feature maps.
    """
    return tuple(value.flatten(1).view(value.shape) for value in inputs)


def _convolution(
    layer: nn.modules.conv._ConvNd, activations: list[Tensor], backprops: Tensor
) -> dict[nn.Parameter, Tensor]:
    """Pads as the layer does; Opacus 1.6 pads with zeros whatever the layer's `padding_mode`."""
    rule = GradSampleHooks.GRAD_SAMPLERS[type(layer)]
    if layer.padding_mode != "zeros":
        sides, mode = layer._reversed_padding_repeated_twice, layer.padding_mode
        activations = [functional.pad(activations[0], sides, mode=mode)]
        layer = copy.copy(layer)  # the same parameters
        layer.padding = (0,) * len(layer.kernel_size)
    return cast(dict[nn.Parameter, Tensor], rule(layer, activations, backprops))


class _Rules(GradSampleHooks):  # type: ignore[misc]  # opacus is untyped
    """Opacus' rules, with convolutions of every padding."""

    GRAD_SAMPLERS: ClassVar = {
        **GradSampleHooks.GRAD_SAMPLERS,
        **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    }
