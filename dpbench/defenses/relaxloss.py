"""RelaxLoss: train to a loss level that is kept up, not to zero."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
from dpbench.training.recipe import NonNegative
from dpbench.training.task import Memoryless, Objective, Setting, Step


@register
@dataclass(frozen=True, kw_only=True)
class RelaxLoss(Defense):
    """Holds the members' mean loss at α: down while it is above, up while it is below.

    Chen, Yu & Fritz 2022, algorithm 1 and released code. A batch whose mean cross-entropy is above
    α is learned as usual. Below α, epochs alternate: gradient ascent in even ones (from 0), that is
    the loss `|CE - α|`; in odd ones the posteriors are flattened, `[wrong] CE(p, soft) - CE(p, y)`,
    where soft keeps the probability of y, at most `upper`, and spreads the rest evenly. The mean is
    held, not the loss of an example: one that is easily forgotten can stay learned.

    Attributes:
        alpha: Target loss. Published: 1 and 0.4 (CIFAR-10), 3 and 0.5 (CIFAR-100; ResNet-20 and
            VGG-11), 2.5 (Texas-100), 0.8 (Purchase-100).
        upper: Largest probability of the true class in a soft label. Published: 1 for images, 0.1
            (Texas-100), 0.3 (Purchase-100).
    """

    name: ClassVar[str] = "relaxloss"
    reference: ClassVar[str] = (
        "Chen, Yu & Fritz 2022, RelaxLoss: Defending Membership Inference Attacks without Losing "
        "Utility"
    )
    search: ClassVar = {"alpha": Search(0.05, 2.0)}

    alpha: NonNegative = 1.0
    upper: Annotated[float, Field(ge=0, le=1)] = 1.0

    def objective(self, setting: Setting) -> Objective:
        """Returns the loss, which knows the epoch of a step."""
        per_epoch = setting.sampling.steps_per_epoch

        def losses(step: Step) -> Tensor:
            loss = self.loss(step.logits, step.targets)
            above = loss.detach().mean(-1, keepdim=True) > self.alpha
            even = int((step.number - 1) / per_epoch) % 2 == 0
            below = self.alpha - loss if even else self._flattening(step, loss)
            return torch.where(above, loss, below)

        return Memoryless(losses)

    def _flattening(self, step: Step, loss: Tensor) -> Tensor:
        """Returns the losses `(K, B)` of odd epochs below α, given the cross-entropies."""
        probabilities = step.logits.detach().softmax(-1)
        labels = step.targets
        if labels.is_floating_point():
            labels = labels.argmax(-1)
        kept = probabilities.gather(-1, labels[..., None]).clamp(max=self.upper)
        rest = (1 - kept) / (step.logits.shape[-1] - 1)
        soft = rest.expand_as(probabilities).scatter(-1, labels[..., None], kept)
        wrong = (step.logits.argmax(-1) != labels).float()
        return wrong * self.loss(step.logits, soft) - loss
