"""Each example's gradient, by one of two ways that leave it in the parameters' `grad_sample`."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast

from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

Losses = Callable[[Tensor, Tensor], Tensor]
"""`(logits (B, C), targets (B, ...)) -> losses (B,)`, of each example alone."""


class ExampleGradients(Protocol):
    """A network whose parameters are given the gradient of every example."""

    def leave(self, inputs: Tensor, targets: Tensor, losses: Losses) -> None:
        """Leaves `(B, *shape)` in the `grad_sample` of every parameter that is trained.

        Args:
            inputs: `(B, *shape)`, B at least 1.
            targets: `(B,)` or `(B, C)`.
            losses: What is differentiated.
        """


class Mapped:
    """Differentiates the whole network for each example by `torch.func`.

    It takes what Opacus' rules for single layers do not: parameters beside layers, weights that
    several layers share in a new way, embeddings of positions, layers changed in place. Every
    example draws random numbers of its own. It is slower than `Hooked` where both apply.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network = network
        for part in network.modules():
            if isinstance(part, nn.RNN | nn.GRU):
                part.register_forward_pre_hook(_with_own_state)

    def leave(self, inputs: Tensor, targets: Tensor, losses: Losses) -> None:
        """Leaves the gradients; see `ExampleGradients`."""
        network = self._network

        def loss(parameters: dict[str, Tensor], example: Tensor, target: Tensor) -> Tensor:
            outputs = functional_call(network, parameters, (example[None],))
            return losses(outputs, target[None]).sum()

        now = {name: part.detach() for name, part in trained(network).items()}
        of_examples = vmap(grad(loss), (None, 0, 0), randomness="different")
        with slow_rules_allowed():
            found = of_examples(now, inputs, targets)
        for name, gradients in found.items():
            # Two biases of one sum may be handed the same tensor, on which Opacus leaves a mark.
            leave(network.get_parameter(name), gradients.view_as(gradients))


def _with_own_state(layer: nn.RNNBase, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Gives a recurrent layer its initial state, zeros, as a value that depends on the example.

    Its own zeros are the same for all examples, and it changes them in place, which `vmap` refuses.
    """
    if len(inputs) > 1:
        return inputs
    (sequence,) = inputs
    batch = [sequence.shape[0 if layer.batch_first else 1]] if sequence.dim() == 3 else []
    layers = layer.num_layers * (2 if layer.bidirectional else 1)
    zeros = sequence.new_zeros(layers, *batch, layer.hidden_size)
    return sequence, zeros + 0 * sequence.sum()


@contextmanager
def slow_rules_allowed() -> Iterator[None]:
    """Silences the warning that an operation has no rule of `vmap` and is run for each example."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There is a performance drop")
        yield


def trained(network: nn.Module) -> dict[str, nn.Parameter]:
    """Returns the parameters that are trained, by their names."""
    return {name: part for name, part in network.named_parameters() if part.requires_grad}


def leave(parameter: nn.Parameter, gradients: Tensor) -> None:
    """Puts the gradients `(B, *shape)` where Opacus' optimizer looks for them."""
    cast(Any, parameter).grad_sample = gradients


def left(parameter: nn.Parameter) -> Tensor:
    """Returns the gradients `(B, *shape)` that were left in a parameter."""
    return cast(Tensor, cast(Any, parameter).grad_sample)
