"""Small residual network with GroupNorm."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor, nn

from dpbench.component import register
from dpbench.models.base import Architecture
from dpbench.models.group_norm import group_norm
from dpbench.models.image_shape import image_shape
from dpbench.models.initialise import materialise


@register
@dataclass(frozen=True, kw_only=True)
class ResNet(Architecture):
    """The CIFAR residual network of He et al. 2016 (section 4.2), with GroupNorm for BatchNorm.

    Three stages at full, half and quarter resolution, global average pooling, one affine map.

    Attributes:
        depth: Residual blocks of each stage; He's ResNet-20 has 3.
        width: Channels of the first stage; each next stage doubles them.
    """

    name: ClassVar[str] = "resnet"

    depth: Annotated[int, Field(ge=1)] = 1
    width: Annotated[int, Field(ge=1)] = 16

    def build(self, shape: tuple[int, ...], n_classes: int, generator: Generator) -> nn.Module:
        """Returns the module; see `Architecture.build`."""
        channels, _, _ = image_shape(shape, model=self.name)
        return materialise(lambda: nn.Sequential(*self._modules(channels, n_classes)), generator)

    def _modules(self, channels: int, n_classes: int) -> list[nn.Module]:
        modules: list[nn.Module] = [*_normalised(channels, self.width, stride=1), nn.ReLU()]
        before = self.width
        for stage in range(3):
            width = self.width << stage
            for block in range(self.depth):
                modules.append(_Block(before, width, stride=2 if stage and not block else 1))
                before = width
        return [*modules, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, n_classes)]


class _Block(nn.Module):
    """`relu(x + F(x))`, with a projected shortcut where the shape changes."""

    def __init__(self, before: int, width: int, *, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_normalised(before, width, stride=stride),
            nn.ReLU(),
            *_normalised(width, width, stride=1),
        )
        same = before == width and stride == 1
        self.shortcut = nn.Identity() if same else _projection(before, width, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(self.shortcut(inputs) + self.residual(inputs))


def _normalised(before: int, width: int, *, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(before, width, 3, stride, padding=1, bias=False), group_norm(width)]


def _projection(before: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), group_norm(width))
