"""Students of a target: what an adversary who may train models makes of the target's answers."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dpbench.attacks import NotApplicable
from dpbench.grid.attack_job import Observed
from dpbench.grid.job import Context, Job, Output
from dpbench.seeds import rng_for, seed_for
from dpbench.training.fit import fit, logits
from dpbench.training.partial import Partial
from dpbench.training.recipe import Recipe
from dpbench.training.task import Task, TrainingData


@dataclass(frozen=True, kw_only=True, eq=False)
class DistilJob(Job):
    """Distils S students from one target, and asks them about the challenge points.

    Student s learns from a random half of the public reference set, the same half and the same
    initial weights for every target, labelled with what the target releases there; its recipe is
    the undefended one. The result is `outputs (S, n, C)` float32 probabilities.

    Attributes:
        target: The cell's released models.
        model: Which of them is the target.
        students: S.
    """

    target: Observed
    model: int
    students: int

    @property
    def kind(self) -> str:
        """The job's kind."""
        return "distil"

    def run(self, context: Context) -> Output:
        """Trains the students; raises NotApplicable where there are no public points."""
        population, recipe = context.population, student_recipe(context)
        if not len(population.reference_y):
            raise NotApplicable("students need a public reference set to learn from")
        sampling = recipe.sampling(len(population.reference_y) / 2)
        facts: dict[str, Any] = {"shape": population.shape, "n_classes": population.n_classes}
        task = Task(
            architecture=context.grid.model,
            **facts,
            recipe=recipe,
            sampling=sampling,
            mechanism=None,
            loss=None,
            regularise=None,
            data=self._lessons(context),
            members=self._halves(context),
            seed=seed_for(context.grid.seed, "students"),
            models=tuple(range(self.students)),
            checkpoints=(sampling.steps,),
            device=context.device,
            partial=Partial(context.store.partial(self.key)),
        )
        challenge = torch.from_numpy(population.pool_x[population.challenge])
        weights = fit(task)[sampling.steps]
        outputs = logits(context.grid.model, weights, challenge, **facts, device=context.device)
        return Output({"model": self.model}, {"outputs": outputs.softmax(-1).numpy()})

    def _lessons(self, context: Context) -> TrainingData:
        population = context.population
        inputs = torch.from_numpy(population.reference_x)
        answers = self.target.asked(context, self.model, inputs)
        # What is released need not sum to 1: rounded or truncated scores.
        total = answers.sum(-1, keepdim=True)
        uniform = torch.full_like(answers, 1 / answers.shape[-1])
        targets = torch.where(total > 0, answers / total.clamp(min=1e-30), uniform)
        labels = torch.from_numpy(population.reference_y)
        return TrainingData(inputs, targets, inputs, labels)

    def _halves(self, context: Context) -> Tensor:
        size = len(context.population.reference_y)
        rows = [
            rng_for(context.grid.seed, "students", student).integers(2, size=size) == 1
            for student in range(self.students)
        ]
        return torch.from_numpy(np.stack(rows))


def student_recipe(context: Context) -> Recipe:
    """Returns the recipe of every student: the grid's, without early stopping."""
    return replace(context.grid.recipe, patience=None, stop_epoch=None, stop_accuracy=None)
