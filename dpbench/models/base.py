"""Architectures: a network by name, built for an input shape and a number of classes."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from torch import Generator, nn

from dpbench.component import Component


@dataclass(frozen=True, kw_only=True)
class Architecture(Component):
    """A network that treats each example alone, and answers the same every time in evaluation.

    Every network is tried on a few examples before it is trained (`training.trainable`): what lets
    the examples of a batch change each other, BatchNorm for one, is refused by the layer's name.
    """

    kind: ClassVar[str] = "model"

    @abstractmethod
    def build(self, shape: tuple[int, ...], n_classes: int, generator: Generator) -> nn.Module:
        """Returns the module `(B, *shape) -> (B, n_classes)` logits, initialised from `generator`.

        Parameters that it leaves with `requires_grad=False` are never trained. What draws from
        torch's global generator draws from a seed derived for the model, here and in `forward`.

        Raises:
            UserError: The architecture does not take inputs of this shape.
        """
