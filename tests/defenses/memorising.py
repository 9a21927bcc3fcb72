"""Trainings that memorise: random labels, so that members and others differ in nothing else."""

import dataclasses

import torch
from torch.nn import functional

from dpbench.defenses.base import Defense, overrides
from dpbench.models import MLP
from dpbench.seeds import seed_for
from dpbench.training.fit import fit, predict
from dpbench.training.recipe import Recipe
from dpbench.training.task import Task, TrainingData

CLASSES, FEATURES, POOL, PUBLIC, MODELS = 4, 8, 120, 120, 4
RECIPE = Recipe(epochs=60, batch_size=20, lr=0.2, momentum=0.9)


def generator(name: str) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(5, name))


def memorising_task(defense: Defense | None = None, recipe: Recipe = RECIPE) -> Task:
    inputs = torch.randn(POOL + PUBLIC, FEATURES, generator=generator("inputs"))
    labels = torch.randint(CLASSES, (POOL + PUBLIC,), generator=generator("labels"))
    sampling = recipe.sampling(POOL / 2)
    task = Task(
        architecture=MLP(hidden=(64,)),
        shape=(FEATURES,),
        n_classes=CLASSES,
        recipe=recipe,
        sampling=sampling,
        mechanism=None,
        loss=None,
        regularise=None,
        data=TrainingData(inputs[:POOL], labels[:POOL], inputs[POOL:], labels[POOL:]),
        members=torch.rand(MODELS, POOL, generator=generator("members")) < 0.5,
        seed=3,
        models=tuple(range(MODELS)),
        checkpoints=(sampling.steps,),
    )
    if defense is None:
        return task
    if overrides(defense, "objective"):
        return dataclasses.replace(task, objective=defense.objective)
    return dataclasses.replace(task, loss=defense.loss)


def trained(task: Task) -> dict[str, torch.Tensor]:
    return fit(task)[task.checkpoints[-1]]


def member_logits(task: Task) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Returns each trained model's logits on its members, and their labels."""
    logits = predict(task, trained(task), task.data.inputs)
    return [(logits[model, row], task.data.targets[row]) for model, row in enumerate(task.members)]


def member_losses(task: Task) -> list[torch.Tensor]:
    """Returns the cross-entropies of each trained model's members."""
    return [functional.cross_entropy(*pair, reduction="none") for pair in member_logits(task)]
