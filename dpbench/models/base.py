"""Architectures: a network by name, built for an input shape and a number of classes."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, nn

from dpbench.component import Component


@dataclass(frozen=True, kw_only=True)
class Architecture(Component):
    """A network without BatchNorm and without in-place activations.

    Both would make an example's gradient depend on other examples or on the engine.
    """

    kind: ClassVar[str] = "model"

    @abstractmethod
    def build(self, shape: tuple[int, ...], n_classes: int, generator: Generator) -> nn.Module:
        """Returns the module `(B, *shape) -> (B, n_classes)` logits, initialised from `generator`.

        The global random state is neither read nor advanced.

        Raises:
            UserError: The architecture does not take inputs of this shape.
        """
