"""Trainings of every kind, on either engine."""

import dataclasses

import torch
from small_task import RECIPE, STEPS, TABLE, make_task
from torch import Generator, Tensor

from dpbench.defenses import AdversarialRegularisation, MixupMmd, RelaxLoss
from dpbench.models import MLP
from dpbench.training.task import Mechanism, Task


def shaken(inputs: Tensor, targets: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    noise = torch.randn(inputs.shape, generator=generator, device=inputs.device)
    return inputs + noise, targets


NOISY = Mechanism(max_grad_norm=0.5, noise_multiplier=1.0)
ADAPTIVE = dataclasses.replace(NOISY, quantile=0.5, count_noise=2.0)
NET = MLP(hidden=(8,), dropout=0.2)
RUNS = {
    "momentum": (RECIPE, {}),
    "adam": (dataclasses.replace(RECIPE, optimizer="adam", lr=0.01), {}),
    "noise": (RECIPE, {"mechanism": NOISY}),
    "adaptive": (dataclasses.replace(RECIPE, optimizer="adam"), {"mechanism": ADAPTIVE}),
    "copies": (
        RECIPE,
        {"mechanism": dataclasses.replace(NOISY, multiplicity=2), "augment": shaken},
    ),
    "averages": (dataclasses.replace(RECIPE, averaging=0.6), {"checkpoints": (4, STEPS)}),
    "patience": (dataclasses.replace(RECIPE, patience=1), {"checkpoints": (4, STEPS)}),
    "accuracy": (dataclasses.replace(RECIPE, stop_accuracy=1.0), {"models": (0, 1, 2)}),
    "augmented": (RECIPE, {"augment": shaken}),
    "relaxloss": (RECIPE, {"objective": RelaxLoss(alpha=1.3).objective}),
    "opponent": (RECIPE, {"objective": AdversarialRegularisation(width=16).objective}),
    "mmd": (RECIPE, {"objective": MixupMmd().objective, "augment": MixupMmd().augment}),
}


def training(engine: str, name: str, **changes: object) -> Task:
    recipe, own = RUNS[name]
    recipe = dataclasses.replace(recipe, engine=engine)
    return make_task(NET, TABLE, recipe, **{"models": (0, 1)} | own | changes)
