"""Distillation: a student learns the softened outputs of a teacher of the same members."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
from dpbench.errors import UserError
from dpbench.seeds import seed_for
from dpbench.training.fit import fit, predict
from dpbench.training.recipe import Positive
from dpbench.training.task import Progress, Snapshots, Task


@register
@dataclass(frozen=True, kw_only=True)
class Distillation(Defense):
    """Trains a teacher, then a student on `α T² KL(teacher | student) + (1 - α) CE`.

    Hinton et al. 2015, at temperature T. Teacher and student have the same members, network and
    recipe, and different initial weights: what the teacher remembers of a member is in what it
    teaches about it.

    Attributes:
        temperature: T.
        alpha: Share of the teacher.
    """

    reference: ClassVar[str] = (
        "Hinton, Vinyals & Dean 2015, Distilling the Knowledge in a Neural Network; as a defense: "
        "Chen, Yu & Fritz 2022, RelaxLoss, section 5"
    )
    search: ClassVar = {
        "temperature": Search(1.0, 10.0),
        "alpha": Search(0.1, 1.0, "linear"),
    }

    temperature: Positive = 10.0
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5

    @property
    def cost(self) -> float:
        """Teacher and student."""
        return 2.0

    def train(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Trains both.

        Raises:
            UserError: Another defense has replaced the loss or mixes batches.
        """
        if task.loss or task.objective or task.augment:
            raise UserError(
                "distillation cannot be composed with a defense that changes loss or batches",
                next_step="keep one of them",
            )
        last = task.checkpoints[-1]
        first = replace(task, seed=seed_for(task.seed, "teacher"), checkpoints=(last,))
        teacher = fit(first, lambda fraction: progress(fraction / 2))[last]
        soft = (predict(task, teacher, task.data.inputs) / self.temperature).softmax(-1)
        labels = task.data.targets
        if not labels.is_floating_point():
            labels = functional.one_hot(labels, task.n_classes).float()
        # A student is told both: the teacher's answer, and behind it the label.
        both = torch.cat([soft, labels.expand_as(soft)], -1)
        second = replace(task, data=task.data._replace(targets=both), loss=self.mixture)
        return fit(second, lambda fraction: progress((1 + fraction) / 2))

    def mixture(self, logits: Tensor, both: Tensor) -> Tensor:
        """Returns the student's loss `(...)`, up to the entropy of the teacher's answer.

        Args:
            logits: `(..., C)`.
            both: `(..., 2 C)`, the teacher's softened answer and the label.
        """
        soft, labels = both.chunk(2, -1)
        softened = (logits / self.temperature).log_softmax(-1)
        taught = -(soft * softened).sum(-1) * self.temperature**2
        return self.alpha * taught + (1 - self.alpha) * self.loss(logits, labels)
