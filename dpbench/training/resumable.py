"""What changes from step to step of a training, and can be put back to where it was."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Generator, Tensor

State = dict[str, Tensor]
"""All that something would need in a fresh process to go on as if nothing had happened."""


@runtime_checkable
class Resumable(Protocol):
    """Something with a state."""

    def state(self) -> State:
        """Returns the state; its tensors may be those that the next step changes."""

    def restore(self, state: State) -> None:
        """Puts a fresh object where another one was when it returned `state`."""


class InPlace:
    """Tensors that steps change in place."""

    def __init__(self, tensors: State) -> None:
        self._tensors = tensors

    def state(self) -> State:
        """Returns the tensors."""
        return self._tensors

    @torch.no_grad()
    def restore(self, state: State) -> None:
        """Copies into the tensors."""
        for name, tensor in self._tensors.items():
            tensor.copy_(state[name])


class Generators:
    """The generators that a training draws from at every step, each made once.

    Args:
        make: Makes the generator of a name.
    """

    def __init__(self, make: Callable[[str], Generator]) -> None:
        self._make, self._made = make, dict[str, Generator]()

    def __getitem__(self, name: str) -> Generator:
        if name not in self._made:
            self._made[name] = self._make(name)
        return self._made[name]

    def state(self) -> State:
        """Returns where every generator is."""
        return {name: generator.get_state() for name, generator in self._made.items()}

    def restore(self, state: State) -> None:
        """Moves every generator there."""
        for name, value in state.items():
            self[name].set_state(value.cpu())


class OptimizerState:
    """What one of torch's optimizers remembers; learning rates are set anew at every step."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self._optimizer = optimizer

    def state(self) -> State:
        """Returns `number of the parameter/what` to value; what is not there yet is left out."""
        return {
            f"{number}/{name}": value
            for number, entry in self._optimizer.state_dict()["state"].items()
            for name, value in entry.items()
            if isinstance(value, Tensor)
        }

    def restore(self, state: State) -> None:
        """Gives every parameter its entries."""
        entries: dict[int, dict[str, Any]] = {}
        for path, value in state.items():
            number, name = path.split("/")
            entries.setdefault(int(number), {})[name] = value
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": entries, "param_groups": groups})


class Parts:
    """Several resumable things as one, by names without a colon."""

    def __init__(self, parts: Mapping[str, Resumable]) -> None:
        self._parts = parts

    def state(self) -> State:
        """Returns `part:name` to value."""
        return {
            f"{part}:{name}": value
            for part, thing in self._parts.items()
            for name, value in thing.state().items()
        }

    def restore(self, state: State) -> None:
        """Gives every part what is its own."""
        for part, thing in self._parts.items():
            start = f"{part}:"
            own = {name: value for name, value in state.items() if name.startswith(start)}
            thing.restore({name.removeprefix(start): value for name, value in own.items()})
