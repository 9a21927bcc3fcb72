"""Convex-concave loss: spread the members' losses by a concave term."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search


@register
@dataclass(frozen=True, kw_only=True)
class ConvexConcaveLoss(Defense):
    """`α CE + (1 - α) c(p_y)`, with c falling and concave in the probability of the true class.

    Liu et al. 2024, section 4: minimising a convex loss draws the members' losses together, where
    others' are not; a concave term, `-exp(p)` or `-(p + p²/2)`, draws them apart. The argument is
    about the variance of losses over members: an attack that knows an example's own loss, with it
    and without it, needs no such variance to be small.

    Attributes:
        alpha: Weight of the cross-entropy, which alone is α = 1.
        concave: `exponential` (CCEL) or `quadratic` (CCQL, its expansion to second order).
    """

    name: ClassVar[str] = "ccl"
    reference: ClassVar[str] = (
        "Liu, Feng, Zhuang, Cao & Wei 2024, Mitigating Privacy Risk in Membership Inference by "
        "Convex-Concave Loss"
    )
    search: ClassVar = {"alpha": Search(0.0, 1.0, "linear")}

    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    concave: Literal["exponential", "quadratic"] = "exponential"

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss `(...)`; with soft targets, p is the exponential of minus the CE."""
        entropy = super().loss(logits, targets)
        true = entropy.neg().exp()
        term = true.exp() if self.concave == "exponential" else true + true.square() / 2
        return self.alpha * entropy - (1 - self.alpha) * term
