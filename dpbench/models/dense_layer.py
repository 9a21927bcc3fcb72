"""Fully connected networks as a list of layers: what the dense engine trains without a module."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from torch import Generator, nn

from dpbench.models.activation import ACTIVATIONS, Activation
from dpbench.models.base import Architecture
from dpbench.models.dropout import DrivenDropout
from dpbench.models.initialise import materialise


class DenseLayer(NamedTuple):
    """One affine map and what follows it: normalisation, activation, dropout, in this order.

    Attributes:
        linear: Prefix of the affine map's `weight` `(d_out, d_in)` and `bias` in the state dict.
        d_in: Number of inputs.
        d_out: Number of outputs.
        norm: Prefix of the LayerNorm's `weight` and `bias` `(d_out,)`, or None.
        activation: The non-linearity, or None.
        dropout: Probability of zeroing an output while training.
    """

    linear: str
    d_in: int
    d_out: int
    norm: str | None = None
    activation: Activation | None = None
    dropout: float = 0.0

    @property
    def parameters(self) -> frozenset[str]:
        """Names of the layer's parameters in the state dict."""
        prefixes = [self.linear, *([self.norm] if self.norm else [])]
        return frozenset(f"{prefix}.{part}" for prefix in prefixes for part in ("weight", "bias"))


@dataclass(frozen=True, kw_only=True)
class DenseArchitecture(Architecture):
    """A stack of fully connected layers, which the dense engine trains many at a time."""

    @abstractmethod
    def layers(self, shape: tuple[int, ...], n_classes: int) -> tuple[DenseLayer, ...]:
        """Returns the layers, first to last.

        Their prefixes are positions in the flat module: 0 flattens the input, each part is one.
        """

    def build(self, shape: tuple[int, ...], n_classes: int, generator: Generator) -> nn.Module:
        """Returns the layers as one flat module; see `Architecture.build`."""
        layers = self.layers(shape, n_classes)
        return materialise(lambda: nn.Sequential(*_modules(layers)), generator)


def _modules(layers: tuple[DenseLayer, ...]) -> list[nn.Module]:
    modules: list[nn.Module] = [nn.Flatten()]
    for layer in layers:
        modules.append(nn.Linear(layer.d_in, layer.d_out))
        if layer.norm:
            modules.append(nn.LayerNorm(layer.d_out))
        if layer.activation:
            modules.append(ACTIVATIONS[layer.activation]())
        if layer.dropout:
            modules.append(DrivenDropout(layer.dropout))
    return modules
