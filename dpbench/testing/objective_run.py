"""A few steps of a defense's objective on random tensors."""

import torch
from torch import Tensor

from dpbench.defenses.base import Defense
from dpbench.training.recipe import Sampling
from dpbench.training.task import Setting, Step, TrainingData

CLASSES = 5
_BATCH, _STEPS = 8, 3
POOL = _BATCH * _STEPS


def run_objective(defense: Defense, logits: Tensor, *, device: str = "cpu") -> list[Tensor]:
    """Returns losses `(K, B)` and their gradients on the logits, of three steps of an epoch each.

    Args:
        defense: Whose objective.
        logits: `(K, POOL, CLASSES)`: what the models say of the pool, whatever they learn.
        device: Where all tensors are.

    Raises:
        AssertionError: A loss has another shape.
    """
    logits = logits.to(device)
    generator = torch.Generator().manual_seed(12)
    inputs = torch.rand(POOL, 4, generator=generator).to(device)
    labels = (torch.arange(POOL) % CLASSES).to(device)
    setting = Setting(
        models=len(logits),
        n_classes=CLASSES,
        sampling=Sampling(rate=1 / _STEPS, steps=_STEPS, batch=_BATCH, steps_per_epoch=1.0),
        data=TrainingData(inputs, labels, inputs, labels),
        members=torch.ones(len(logits), POOL, dtype=torch.bool).to(device),
        predict=lambda asked: logits[:, torch.arange(len(asked), device=device) % POOL],
        generator=torch.Generator(device=device).manual_seed(10),
    )
    objective, found = defense.objective(setting), []
    for number in range(1, _STEPS + 1):
        rows = slice((number - 1) * _BATCH, number * _BATCH)
        leaf = logits[:, rows].clone().requires_grad_()
        losses = objective(Step(leaf, labels[rows].expand(len(logits), -1), number))
        assert losses.shape == (len(logits), _BATCH), (
            f"{defense.label()}: objective has shape {tuple(losses.shape)}"
        )
        (gradient,) = torch.autograd.grad(losses.sum(), leaf)
        found += [losses.detach(), gradient]
    return found
