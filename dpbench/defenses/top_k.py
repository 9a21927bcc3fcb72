"""Release the k largest confidences."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Choice


@register
@dataclass(frozen=True, kw_only=True)
class TopK(Defense):
    """Releases the k largest probabilities as they are; the others are reported as zero.

    Attributes:
        k: How many classes keep their probability.
    """

    name: ClassVar[str] = "top_k"
    reference: ClassVar[str] = "Shokri et al. 2017, Membership Inference Attacks, section VIII-B"
    search: ClassVar = {"k": Choice((1, 2, 3, 5))}

    k: Annotated[int, Field(ge=1)] = 3

    def release(self, outputs: Tensor) -> Tensor:
        """Zeroes all but the k largest of `(..., C)` probabilities."""
        values, places = outputs.topk(min(self.k, outputs.shape[-1]), dim=-1)
        return torch.zeros_like(outputs).scatter_(-1, places, values)

    def undo(self, released: Tensor) -> Tensor:
        """Spreads the mass that is missing evenly over the hidden classes."""
        hidden = released == 0
        missing = (1 - released.sum(-1, keepdim=True)).clamp_min(0)
        share = missing / hidden.sum(-1, keepdim=True).clamp_min(1)
        return torch.where(hidden, share, released)
