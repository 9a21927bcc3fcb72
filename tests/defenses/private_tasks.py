"""Small trainings for defenses that are private by other means than noisy gradients."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dpbench.defenses.private_regression import PrivateRegression
from dpbench.models import Softmax
from dpbench.privacy.audits.trials import Trials
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Task, TrainingData

D, C = 3, 3
RECIPE = Recipe(epochs=10, batch_size=8, lr=0.1, momentum=0.0)
SAMPLING = Sampling(rate=0.5, steps=20, batch=5.0, steps_per_epoch=2.0)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def task_of(members: torch.Tensor, *, expected: float = 10.0, **changes: Any) -> Task:
    """A training of softmax regression on `members.shape[1]` unit vectors."""
    count = members.shape[1]
    inputs = torch.nn.functional.normalize(torch.randn(count, D, generator=generator(1)), dim=1)
    labels = torch.arange(count) % C
    sampling = RECIPE.sampling(expected)
    task = Task(
        architecture=Softmax(),
        shape=(D,),
        n_classes=C,
        recipe=RECIPE,
        sampling=sampling,
        mechanism=None,
        loss=None,
        regularise=None,
        data=TrainingData(inputs, labels, inputs[:10], labels[:10]),
        members=members,
        seed=5,
        models=tuple(range(len(members))),
        checkpoints=(sampling.steps,),
    )
    return replace(task, **changes)


def pair_task(inputs: torch.Tensor, labels: torch.Tensor, *, runs: int, expected: float) -> Task:
    """Runs of two classes without the last example, then as many with it; the others always in."""
    members = torch.ones(2 * runs, len(labels), dtype=torch.bool)
    members[:runs, -1] = False
    data = TrainingData(inputs, labels, inputs, labels)
    return task_of(members, expected=expected, data=data, shape=inputs.shape[1:], n_classes=2)


def trials_of(scores: NDArray[np.float64]) -> Trials:
    """The first half are runs without the example."""
    return Trials.independent(scores, np.arange(len(scores)) >= len(scores) // 2)


def weights_of(defense: PrivateRegression, task: Task) -> NDArray[np.float64]:
    """Released weights `(K, C, D + 1)`, biases last."""
    released = defense.train(task)[task.checkpoints[-1]]
    return torch.cat([released["1.weight"], released["1.bias"][..., None]], -1).double().numpy()
