"""Softmax (multinomial logistic) regression."""

import math
from dataclasses import dataclass

from dpbench.component import register
from dpbench.models.dense_layer import DenseArchitecture, DenseLayer


@register
@dataclass(frozen=True, kw_only=True)
class Softmax(DenseArchitecture):
    """One affine map from the flattened input to the logits; its loss is convex in the weights."""

    def layers(self, shape: tuple[int, ...], n_classes: int) -> tuple[DenseLayer, ...]:
        """Returns the single layer."""
        return (DenseLayer("1", math.prod(shape), n_classes),)
