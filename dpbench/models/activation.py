"""The non-linearities a grid may name."""

from typing import Literal

from torch import nn

Activation = Literal["relu", "tanh"]

ACTIVATIONS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
