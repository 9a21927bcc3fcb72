"""Label differential privacy by randomised response: the contrast to privacy of membership."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Generator, Tensor
from torch.nn import functional

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
from dpbench.errors import UserError
from dpbench.seeds import seed_for
from dpbench.training.fit import fit
from dpbench.training.task import Progress, Snapshots, Task


@register
@dataclass(frozen=True, kw_only=True)
class LabelDp(Defense):
    """Keeps each label with probability `e^ε / (e^ε + C - 1)`, else replaces it by another one.

    Warner 1965, for C labels; Ghazi et al. 2021 for the setting. Every model draws noise of its
    own. What is private is the label of an example whose features are known, `ε`-DP when one label
    is changed. Membership is not: features are used as they are, and an example that is left out
    leaves no trace at all. So it claims nothing in the game of this benchmark, and is here because
    its ε is often read as if it did.

    Attributes:
        epsilon: ε of the labels.
        corrected: Learn with the forward-corrected loss (Patrini et al. 2017), which expects the
            noise, instead of taking noisy labels for true ones.
    """

    name: ClassVar[str] = "label_dp"
    reference: ClassVar[str] = "Ghazi et al. 2021, Deep Learning with Label Differential Privacy"
    search: ClassVar = {"epsilon": Search(0.3, 8.0)}

    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    corrected: bool = False

    @property
    def keeps_claim(self) -> bool:
        """An example's noise is its own: the mechanism behind sees one other example at most."""
        return True

    def keep_probability(self, n_classes: int) -> float:
        """Returns how often a label is kept."""
        return 1 / (1 + (n_classes - 1) * math.exp(-self.epsilon))

    def train(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Trains on labels that every model has randomised for itself.

        Raises:
            UserError: Another defense has made the labels soft, or replaces the corrected loss.
        """
        labels = task.data.targets
        if self.corrected and (task.loss or task.objective):
            raise UserError(
                "label_dp.corrected cannot be composed with a defense that replaces the loss",
                next_step="leave out corrected, or the other loss",
            )
        if labels.is_floating_point():
            raise UserError(
                "label_dp cannot be composed with a defense that prepares soft labels",
                next_step="keep one of them",
            )
        noisy = torch.stack([self._randomised(task, model) for model in task.models])
        loss = self._corrected if self.corrected else task.loss
        return fit(replace(task, data=task.data._replace(targets=noisy), loss=loss), progress)

    def _randomised(self, task: Task, model: int) -> Tensor:
        labels, classes = task.data.targets, task.n_classes
        generator = Generator().manual_seed(seed_for(task.seed, "label_dp", model))
        kept = torch.rand(len(labels), generator=generator) < self.keep_probability(classes)
        others = torch.randint(1, classes, labels.shape, generator=generator)
        return torch.where(kept, labels, (labels + others) % classes)

    def _corrected(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Returns the loss `(...)` of the noisy label under the model's own, randomised."""
        classes = logits.shape[-1]
        keep = self.keep_probability(classes)
        other = (1 - keep) / (classes - 1)
        noisy = (keep - other) * logits.softmax(-1) + other
        if not targets.is_floating_point():
            targets = functional.one_hot(targets, classes).to(logits.dtype)
        return -(targets * noisy.log()).sum(-1)
