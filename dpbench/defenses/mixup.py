"""Mixup."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
from dpbench.training.recipe import Positive


@register
@dataclass(frozen=True, kw_only=True)
class Mixup(Defense):
    """Trains on `λ a + (1 - λ) b` of two members and of their labels, λ from Beta(α, α).

    Zhang et al. 2018: one λ for a batch, and its examples mixed with a permutation of itself. A
    gradient belongs to two examples, so it cannot be clipped for one: no DP-SGD beside it.

    Attributes:
        alpha: α of the Beta distribution; 1 is uniform.
    """

    reference: ClassVar[str] = (
        "Zhang et al. 2018, mixup: Beyond Empirical Risk Minimization; as a defense: Li, Li & "
        "Ribeiro 2021, section 4.2"
    )
    search: ClassVar = {"alpha": Search(0.1, 4.0)}
    mixes_examples: ClassVar[bool] = True

    alpha: Positive = 1.0

    def augment(
        self, inputs: Tensor, targets: Tensor, generator: Generator
    ) -> tuple[Tensor, Tensor]:
        """Mixes a batch `(K, B, *shape)` with its permutation, each of K models with its own."""
        models, batch = inputs.shape[:2]
        shares = self._shares(models, generator)
        order = torch.rand(models, batch, generator=generator, device=inputs.device).argsort(-1)
        mixed = []
        for values in (inputs, targets):
            index = order.view(models, batch, *[1] * (values.dim() - 2)).expand_as(values)
            share = shares.view(models, *[1] * (values.dim() - 1))
            mixed.append(torch.lerp(values.gather(1, index), values, share))
        return mixed[0], mixed[1]

    def _shares(self, models: int, generator: Generator) -> Tensor:
        """Draws λ `(K,)`: a Beta variable is a ratio of Gamma variables."""
        if self.alpha == 1:
            return torch.rand(models, generator=generator, device=generator.device)
        shape = torch.full((2, models), self.alpha, device=generator.device)
        first, second = torch._standard_gamma(shape, generator)
        share: Tensor = first / (first + second)
        return share
