"""Release rounded confidences."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Choice


@register
@dataclass(frozen=True, kw_only=True)
class Rounding(Defense):
    """Rounds every probability to a number of decimals.

    Rounding can tie the two largest probabilities; the tie is broken in favour of the predicted
    label by half a unit of the last decimal, so the label is kept.

    Attributes:
        digits: Decimals that are kept.
    """

    name: ClassVar[str] = "rounding"
    reference: ClassVar[str] = "Shokri et al. 2017, Membership Inference Attacks, section VIII-B"
    search: ClassVar = {"digits": Choice((1, 2, 3))}

    digits: Annotated[int, Field(ge=0, le=7)] = 2

    def release(self, outputs: Tensor) -> Tensor:
        """Rounds `(..., C)` probabilities, keeping the argmax."""
        rounded = outputs.round(decimals=self.digits)
        label = outputs.argmax(-1, keepdim=True)
        largest = rounded.amax(-1, keepdim=True)
        tied = (rounded == largest).sum(-1, keepdim=True) > 1
        nudge = tied.to(outputs.dtype) * (0.5 * 10.0**-self.digits)
        return rounded.scatter_add_(-1, label, nudge)

    def undo(self, released: Tensor) -> Tensor:
        """Reads a zero as half of what would still round to zero, instead of as impossible."""
        return released.clamp_min(0.25 * 10.0**-self.digits)
