"""Multi-layer perceptron."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from dpbench.component import register
from dpbench.models.activation import Activation
from dpbench.models.dense_layer import DenseArchitecture, DenseLayer


@register
@dataclass(frozen=True, kw_only=True)
class MLP(DenseArchitecture):
    """Fully connected network on the flattened input.

    Attributes:
        hidden: Widths of the hidden layers, first to last.
        activation: Non-linearity of the hidden layers.
        dropout: Probability of zeroing a hidden unit while training.
        layer_norm: Normalise each hidden layer before its activation.
    """

    hidden: tuple[Annotated[int, Field(ge=1)], ...] = (128,)
    activation: Activation = "relu"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    layer_norm: bool = False

    def layers(self, shape: tuple[int, ...], n_classes: int) -> tuple[DenseLayer, ...]:
        """Returns the layers; their prefixes are the positions in the flat module."""
        layers, place, d_in = [], 1, math.prod(shape)
        for width in self.hidden:
            norm = str(place + 1) if self.layer_norm else None
            layers.append(DenseLayer(str(place), d_in, width, norm, self.activation, self.dropout))
            place += 2 + (norm is not None) + (self.dropout > 0)
            d_in = width
        return (*layers, DenseLayer(str(place), d_in, n_classes))
