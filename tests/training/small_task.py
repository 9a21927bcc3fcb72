"""A small task for the autograd engine, and its weights as vectors."""

import dataclasses

import torch
from torch import nn

from dpbench.models import CNN, Architecture
from dpbench.seeds import seed_for
from dpbench.training.recipe import Recipe
from dpbench.training.task import Mechanism, Task, TrainingData

N, CLASSES, STEPS, SEED = 60, 4, 10, 7
TABLE, IMAGE = (6,), (2, 8, 8)
RECIPE = Recipe(epochs=3, batch_size=9, lr=0.2, momentum=0.9, weight_decay=0.01)
CLIP = Mechanism(max_grad_norm=0.5, noise_multiplier=0.0)
SMALL_CNN = CNN(width=3, hidden=6, group_norm=True, activation="tanh")


def generator(*path: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(SEED, *path))


def make_task(
    net: Architecture, shape: tuple[int, ...], recipe: Recipe = RECIPE, **changes: object
) -> Task:
    inputs = torch.randn(N, *shape, generator=generator("inputs"))
    targets = torch.randint(0, CLASSES, (N,), generator=generator("targets"))
    models = changes.pop("models", (0,))
    task = Task(
        architecture=net,
        shape=shape,
        n_classes=CLASSES,
        recipe=recipe,
        sampling=recipe.sampling(N / 2)._replace(steps=STEPS),
        mechanism=None,
        loss=None,
        regularise=None,
        data=TrainingData(inputs, targets, inputs[:20], targets[:20]),
        members=torch.rand(len(models), N, generator=generator("members")) < 0.5,
        seed=SEED,
        models=models,
        checkpoints=(STEPS,),
    )
    return dataclasses.replace(task, **changes)


def started(task: Task, model: int = 0) -> nn.Module:
    return task.architecture.build(task.shape, task.n_classes, generator("init", model))


def vector(weights: dict[str, torch.Tensor], model: int = 0) -> torch.Tensor:
    return torch.cat([value[model].flatten() for value in weights.values()])


def parameters_of(network: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in network.state_dict().values()])


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())
