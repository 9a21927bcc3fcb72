"""Release only the predicted label."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Choice

# The margin by which the flat form marks the predicted label (papers.md 2.3, "strongest MemGuard").
_MARGIN = 1e-3


@register
@dataclass(frozen=True, kw_only=True)
class LabelOnly(Defense):
    """Confidence masking to the limit: the scores carry the predicted label and nothing else.

    Attributes:
        form: `one_hot` puts all mass on the label; `flat` puts 1/K + 1e-3 on it and spreads the
            rest evenly, the ideal MemGuard of Choquette-Choo et al. (2021).
    """

    name: ClassVar[str] = "label_only"
    reference: ClassVar[str] = (
        "Choquette-Choo et al. 2021, Label-Only Membership Inference, section 5"
    )
    search: ClassVar = {"form": Choice(("one_hot", "flat"))}

    form: Literal["one_hot", "flat"] = "one_hot"

    def release(self, outputs: Tensor) -> Tensor:
        """Keeps the argmax of `(..., C)` probabilities."""
        classes = outputs.shape[-1]
        chosen = outputs.argmax(-1, keepdim=True)
        top = 1.0 if self.form == "one_hot" else min(1.0, 1 / classes + _MARGIN)
        rest = torch.full_like(outputs, (1 - top) / max(1, classes - 1))
        return rest.scatter_(-1, chosen, top)
