"""What is watched while a network is tried: its layers one by one, and its random numbers."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

_SAMPLERS = frozenset(
    [
        "bernoulli",
        "bernoulli_",
        "rand",
        "rand_like",
        "randn",
        "randn_like",
        "uniform",
        "uniform_",
        "normal",
        "normal_",
        "normal_functional",
        "randint",
        "randint_like",
        "random",
        "random_",
        "exponential",
        "exponential_",
        "multinomial",
        "poisson",
        "geometric",
        "geometric_",
        "cauchy",
        "cauchy_",
        "log_normal",
        "log_normal_",
        "binomial",
        "_standard_gamma",
        "_sample_dirichlet",
    ]
)


class Call(NamedTuple):
    """One call of a layer.

    Attributes:
        name: The layer's, empty for the whole network.
        inputs: The tensors that it was given.
        outputs: The tensors that it returned.
    """

    name: str
    inputs: list[Tensor]
    outputs: list[Tensor]


class Trace:
    """Follows the calls of all layers inside `trace`.

    Attributes:
        calls: Finished calls, inner layers before those around them.
        open: Names of the layers that have begun and not ended: the last one raised, if any did.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.open: list[str] = []


@contextmanager
def trace(network: nn.Module) -> Iterator[Trace]:
    """Yields what follows the layers of a network."""
    seen, handles = Trace(), []
    for name, part in network.named_modules():

        def begin(_: nn.Module, __: Any, name: str = name) -> None:
            seen.open.append(name)

        def end(_: nn.Module, given: Any, made: Any, name: str = name) -> None:
            seen.open.pop()
            seen.calls.append(Call(name, _tensors(given), _tensors(made)))

        handles += [part.register_forward_pre_hook(begin), part.register_forward_hook(end)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


class FixedDraws(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Replaces random numbers by constants, so that an example's do not depend on its batch.

    Floats become 1/2, permutations turn the order round, and dropout passes its inputs on.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Draws, and overwrites what was drawn."""
        name = func.overloadpacket.__name__
        result = func(*args, **kwargs or {})
        if name in _SAMPLERS:
            return result.fill_(0.5 if result.is_floating_point() else 0)
        if name == "randperm":
            return result.copy_(torch.arange(len(result) - 1, -1, -1))
        if name == "native_dropout":
            result[0].copy_(args[0])
            result[1].fill_(True)
        if name == "rrelu_with_noise":  # the slopes that it drew are in its second argument
            args[1].copy_(torch.where(args[0] > 0, 1.0, 0.25))
            result.copy_(args[0] * args[1])
        return result


@contextmanager
def other_draws() -> Iterator[list[str]]:
    """Yields a list that ends up with the other sources of random numbers than torch's, if used.

    Their states are put back.
    """
    used: list[str] = []
    python, legacy = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        yield used
    finally:
        if random.getstate() != python:
            used.append("Python's random")
        if str(np.random.get_state()) != str(legacy):  # noqa: NPY002
            used.append("numpy.random")
        random.setstate(python)
        np.random.set_state(legacy)  # noqa: NPY002


def _tensors(values: Any) -> list[Tensor]:
    return [value.detach() for value in tree_flatten(values)[0] if isinstance(value, Tensor)]
