"""Students of a target: what an adversary who may train models makes of the target's answers."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from dpbench.attacks import NotApplicable
from dpbench.game.cost import REFERENCE_FLOPS
from dpbench.game.membership_game import MembershipGame
from dpbench.game.observed import Observed
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job, Output
from dpbench.seeds import rng_for, seed_for
from dpbench.training.fit import fit, predict
from dpbench.training.partial import Partial
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Task, TrainingData


@dataclass(frozen=True, kw_only=True, eq=False)
class StudentsJob(Job):
    """Distils S students from one target, and queries them on the challenge points.

    Student s learns from a random half of the public reference set, the same half and the same
    initial weights for every target, labelled with what the target releases there; its recipe is
    the undefended one. The result is `outputs (S, n, C)` float32 probabilities.

    Attributes:
        target: The cell's released models.
        model: Number of the target.
        students: S.
        recipe: The undefended recipe, without early stopping.
    """

    kind: ClassVar[str] = "students"
    version: ClassVar[int] = 1
    rank: ClassVar[int] = 3

    target: Observed
    model: int
    students: int
    recipe: Recipe

    @property
    def label(self) -> str:
        """What it does."""
        return f"{self.students} students of model {self.model}, {self.target.observe.label}"

    @cached_property
    def seconds(self) -> float:
        """Forward and backward passes over all examples of all students."""
        examples = self.sampling.batch * self.sampling.steps * self.students
        return 6 * self.target.models.parameters * examples / REFERENCE_FLOPS

    @property
    def sampling(self) -> Sampling:
        """Each student learns from half of the reference set, on average."""
        population = self.target.observe.game.population
        return self.recipe.sampling(len(population.reference_y) / 2 or 1)

    def run(self, inputs: Inputs) -> Output:
        """Trains the students; raises NotApplicable where there are no public points."""
        game, sampling = self.target.observe.game, self.sampling
        population = game.population
        if not len(population.reference_y):
            raise NotApplicable("students need a public reference set to learn from")
        task = Task(
            architecture=self.target.models.trains[0].architecture,
            shape=population.shape,
            n_classes=population.n_classes,
            recipe=self.recipe,
            sampling=sampling,
            mechanism=None,
            loss=None,
            regularise=None,
            data=self._lessons(inputs),
            members=_halves(game, self.students),
            seed=seed_for(game.seed, "students"),
            models=tuple(range(self.students)),
            checkpoints=(sampling.steps,),
            device=inputs.device,
            partial=Partial(inputs.partial),
        )
        challenge = torch.from_numpy(population.pool_x[population.challenge])
        weights = fit(task)[sampling.steps]
        outputs = predict(task, weights, challenge)
        return Output({"model": self.model}, {"outputs": outputs.softmax(-1).numpy()})

    def _lessons(self, results: Inputs) -> TrainingData:
        population = self.target.observe.game.population
        inputs = torch.from_numpy(population.reference_x)
        answers = self.target.answers(results, self.model, inputs)
        # What is released need not sum to 1: rounded or truncated scores.
        total = answers.sum(-1, keepdim=True)
        uniform = torch.full_like(answers, 1 / answers.shape[-1])
        targets = torch.where(total > 0, answers / total.clamp(min=1e-30), uniform)
        labels = torch.from_numpy(population.reference_y)
        return TrainingData(inputs, targets, inputs, labels)


def _halves(game: MembershipGame, students: int) -> Tensor:
    """Returns which reference points each student learns from, `(S, r)`."""
    size = len(game.population.reference_y)
    rows = [
        rng_for(game.seed, "students", student).integers(2, size=size) == 1
        for student in range(students)
    ]
    return torch.from_numpy(np.stack(rows))


def student_recipe(recipe: Recipe) -> Recipe:
    """Returns the recipe of every student: the grid's, without early stopping."""
    return replace(recipe, patience=None, stop_epoch=None, stop_accuracy=None)
