"""Distillation for membership privacy: the released model never sees a member."""

import math
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from dpbench.component import register
from dpbench.defenses.base import Defense, require_public
from dpbench.defenses.search import Search
from dpbench.seeds import seed_for
from dpbench.training.fit import fit, predict
from dpbench.training.recipe import Positive
from dpbench.training.task import Progress, Snapshots, Task, TrainingData


@register
@dataclass(frozen=True, kw_only=True)
class Dmp(Defense):
    """A teacher learns the members; its student learns the teacher's answers on public inputs.

    Shejwalkar & Houmansadr 2021: of the public reference set, the inputs on which the teacher's
    answer has the lowest entropy, where members influence it least; the student minimises the
    divergence from these answers. The labels of the reference set are not used. Members still
    reach the student through the teacher's answers about inputs like them.

    Attributes:
        share: Part of the reference set that is selected, those of the lowest entropy.
        temperature: Of the teacher's answers.
    """

    reference: ClassVar[str] = (
        "Shejwalkar & Houmansadr 2021, Membership Privacy for Machine Learning Models Through "
        "Knowledge Transfer"
    )
    search: ClassVar = {"share": Search(0.1, 1.0, "linear")}

    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    temperature: Positive = 1.0

    @property
    def cost(self) -> float:
        """Teacher and student."""
        return 2.0

    def require(self, data: TrainingData) -> None:
        """Refuses an empty reference set."""
        require_public(data, self.name)

    def train(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Trains both.

        Raises:
            UserError: There are no public inputs.
        """
        inputs, labels = task.data.reference_inputs, task.data.reference_targets
        self.require(task.data)
        last = task.checkpoints[-1]
        first = replace(task, seed=seed_for(task.seed, "teacher"), checkpoints=(last,))
        teacher = fit(first, lambda fraction: progress(fraction / 2))[last]
        answers = predict(task, teacher, inputs)
        chosen = self.selected(answers.softmax(-1))
        soft = (answers / self.temperature).softmax(-1)
        return self._student(
            task,
            TrainingData(inputs, soft, inputs, labels),
            chosen,
            lambda fraction: progress((1 + fraction) / 2),
        )

    def selected(self, answers: Tensor) -> Tensor:
        """Returns which public inputs `(K, r)` each teacher's student learns from."""
        entropy = -torch.xlogy(answers, answers).sum(-1)
        count = max(1, math.ceil(self.share * entropy.shape[1]))
        lowest = entropy.sort(dim=1, stable=True).indices[:, :count]
        return torch.zeros_like(entropy, dtype=torch.bool).scatter_(1, lowest, value=True)

    def _student(
        self, task: Task, data: TrainingData, chosen: Tensor, progress: Progress
    ) -> Snapshots:
        """Trains on the chosen inputs; checkpoints keep their place in the training."""
        sampling = task.recipe.sampling(float(chosen[0].sum()))
        stretch = sampling.steps / task.sampling.steps
        at = {step: max(1, round(step * stretch)) for step in task.checkpoints}
        student = replace(
            task,
            data=data,
            members=chosen,
            sampling=sampling,
            checkpoints=tuple(sorted(set(at.values()))),
        )
        released = fit(student, progress)
        return {step: released[place] for step, place in at.items()}
