"""What training calls of a defense, on tensors of a GPU: checked where there is none."""

from collections.abc import Callable

import torch
from torch import Tensor

from dpbench.defenses.base import Defense, overrides
from dpbench.testing.objective_run import CLASSES, POOL, run_objective
from dpbench.testing.pretended_gpu import Mixed, pretended_gpu

_MODELS, _BATCH = 2, 8


def check_on_gpu(defense: Defense) -> None:
    """Checks that a defense trains on a GPU, on one that is pretended (`pretended_gpu`).

    What it computes must be there, too, and have the bits of the CPU. Stages that only ever see the
    CPU's tensors (`prepare`, `represent`, `fit_release`, `release`) are not looked at.

    Raises:
        AssertionError: It mixes tensors of both sides, say; the message says where.
    """
    for stage, call in _STAGES.items():
        if not overrides(defense, stage):
            continue
        name = f"{defense.label()}: {stage}"
        with pretended_gpu():
            try:
                there = call(defense, "cuda")
            except Mixed as error:
                raise AssertionError(
                    f"{name} fails on a GPU: {error}; make tensors on the device of what is given "
                    "(device=logits.device), and random ones on the generator's"
                ) from None
            left = [part.device.type for part in there]
            there = [part.cpu() for part in there]
        assert set(left) == {"cuda"}, f"{name} returns tensors of the CPU for those of a GPU"
        for one, other in zip(there, call(defense, "cpu"), strict=True):
            assert torch.equal(one, other), f"{name} gives something else on a GPU"


def _augmented(defense: Defense, device: str) -> list[Tensor]:
    inputs, soft = _drawn(_MODELS, _BATCH, 1, 8, 8), _drawn(_MODELS, _BATCH, CLASSES).softmax(-1)
    return [*defense.augment(inputs.to(device), soft.to(device), _generator(device))]


def _losses(defense: Defense, device: str) -> list[Tensor]:
    logits = _drawn(_BATCH, CLASSES)
    targets = torch.arange(_BATCH) % CLASSES
    return [
        defense.loss(logits.to(device), given.to(device))
        for given in (targets, _drawn(_BATCH, CLASSES).softmax(-1))
    ]


def _objective(defense: Defense, device: str) -> list[Tensor]:
    return run_objective(defense, _drawn(_MODELS, POOL, CLASSES), device=device)


def _penalty(defense: Defense, device: str) -> list[Tensor]:
    weights = {"0.weight": _drawn(_MODELS, CLASSES, 4), "0.bias": _drawn(_MODELS, CLASSES)}
    return [defense.regularise({name: value.to(device) for name, value in weights.items()})]


_STAGES: dict[str, Callable[[Defense, str], list[Tensor]]] = {
    "augment": _augmented,
    "loss": _losses,
    "objective": _objective,
    "regularise": _penalty,
}


def _drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=_generator("cpu"))


def _generator(device: str) -> torch.Generator:
    return torch.Generator(device=device).manual_seed(0)
