"""A linear model on frozen features: scattering coefficients of images."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor
from torch.nn import functional

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.errors import UserError
from dpbench.models import Softmax
from dpbench.models.base import Architecture
from dpbench.models.scattering import scattering


@register
@dataclass(frozen=True, kw_only=True)
class Scattering(Defense):
    """Softmax regression on scattering coefficients, for DP-SGD: `[scattering, dp_sgd]`.

    Tramer & Boneh 2021: with features that need no learning, a private linear model is better than
    a private network at small ε. Coefficients are normalised in groups of three within each image,
    which looks at no other image and costs no privacy. It replaces the grid's network.

    Attributes:
        octaves: J; left out, 2 for sides of 24 pixels and more, else 1.
    """

    version: ClassVar[int] = 2
    reference: ClassVar[str] = (
        "Tramer & Boneh 2021, Differentially Private Learning Needs Better Features"
    )

    octaves: Annotated[int, Field(ge=1, le=3)] | None = None

    def remodel(self, architecture: Architecture) -> Architecture:
        """Returns softmax regression."""
        return Softmax()

    def represent(self, inputs: Tensor) -> Tensor:
        """Returns normalised coefficients of images `(N, channels, height, width)`.

        Raises:
            UserError: The inputs are not images, or too small.
        """
        octaves = self.octaves or (2 if min(inputs.shape[-2:]) >= 24 else 1)
        step = 2**octaves
        if inputs.dim() != 4 or any(side % step or side < 2 * step for side in inputs.shape[-2:]):
            raise UserError(
                f"scattering: inputs of shape {tuple(inputs.shape[1:])}",
                allowed=f"images with sides divisible by {step} and of at least {2 * step} pixels",
                next_step="set scattering.octaves or population.average_pool",
            )
        features = scattering(inputs, octaves=octaves)
        paths = features.shape[1]
        return functional.group_norm(features, paths // 3 if paths % 3 == 0 else 1)
