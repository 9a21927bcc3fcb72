"""Small convolutional network."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from torch import Generator, nn

from dpbench.component import register
from dpbench.models.activation import ACTIVATIONS, Activation
from dpbench.models.base import Architecture
from dpbench.models.dropout import DrivenDropout
from dpbench.models.group_norm import group_norm
from dpbench.models.image_shape import image_shape
from dpbench.models.initialise import materialise

_POOLS: dict[str, type[nn.Module]] = {"avg": nn.AvgPool2d, "max": nn.MaxPool2d}


@register
@dataclass(frozen=True, kw_only=True)
class CNN(Architecture):
    """Two blocks of 3x3 convolution, activation and 2x2 pooling, then one hidden layer.

    Attributes:
        width: Channels of the first block; the second has twice as many.
        hidden: Width of the fully connected layer.
        activation: Non-linearity; tanh suits clipping (Papernot et al. 2021, arXiv:2007.14191).
        pool: `avg` or `max`.
        group_norm: Normalise each convolution's output.
        dropout: Probability of zeroing a hidden unit while training.
    """

    width: Annotated[int, Field(ge=1)] = 16
    hidden: Annotated[int, Field(ge=1)] = 64
    activation: Activation = "relu"
    pool: Literal["avg", "max"] = "avg"
    group_norm: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0

    def build(self, shape: tuple[int, ...], n_classes: int, generator: Generator) -> nn.Module:
        """Returns the module; see `Architecture.build`."""
        channels, height, width = image_shape(shape, model=self.name, smallest=4)
        features = 2 * self.width * (height // 4) * (width // 4)
        return materialise(
            lambda: nn.Sequential(
                *self._block(channels, self.width),
                *self._block(self.width, 2 * self.width),
                nn.Flatten(),
                nn.Linear(features, self.hidden),
                ACTIVATIONS[self.activation](),
                *([DrivenDropout(self.dropout)] if self.dropout else []),
                nn.Linear(self.hidden, n_classes),
            ),
            generator,
        )

    def _block(self, channels: int, width: int) -> list[nn.Module]:
        norm = [group_norm(width)] if self.group_norm else []
        convolution = nn.Conv2d(channels, width, 3, padding=1)
        return [convolution, *norm, ACTIVATIONS[self.activation](), _POOLS[self.pool](2)]
