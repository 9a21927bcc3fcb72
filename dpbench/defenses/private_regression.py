"""What output and objective perturbation share: softmax regression on inputs of bounded norm."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Annotated

import torch
from pydantic import Field
from torch import Generator, Tensor

from dpbench.defenses.base import Defense
from dpbench.errors import UserError
from dpbench.models import Softmax
from dpbench.models.base import Architecture
from dpbench.seeds import seed_for
from dpbench.training.convex import Regression
from dpbench.training.recipe import Positive
from dpbench.training.task import Progress, Snapshots, Task, Weights

INPUT_NORM = math.sqrt(2)
"""Of an input of norm 1 with its constant one."""

SENSITIVITY = math.sqrt(2) * INPUT_NORM
"""Largest norm of one example's gradient, `|p - y| |x|`, whatever the predictions and labels."""

TOLERANCE = 1e-4
"""Norm of the gradient at a minimiser, in units of what one example can contribute to it."""


@dataclass(frozen=True, kw_only=True)
class PrivateRegression(Defense):
    """Softmax regression whose minimiser is private; not for other networks.

    Inputs are scaled down to norm 1, in training and in every query; the objective is divided by
    the expected number N of members, never by their number. The recipe is not used.

    Attributes:
        epsilon: Of the claim.
        delta: Of the claim.
        weight_decay: λ of the objective `mean loss + λ/2 |W|²`, over all parameters.
    """

    epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    weight_decay: Positive = 0.01

    @property
    def keeps_claim(self) -> bool:
        """Its own training is what it claims for."""
        return True

    @property
    def replaces(self) -> frozenset[str]:
        """The whole schedule, as its minimiser takes no steps of the recipe's."""
        schedule = {"epochs", "batch_size", "sampling_rate", "lr", "momentum", "optimizer"}
        return frozenset(schedule | {"schedule", "averaging"})

    def remodel(self, architecture: Architecture) -> Architecture:
        """Returns softmax regression, whatever the grid's network is."""
        return Softmax()

    def represent(self, inputs: Tensor) -> Tensor:
        """Flattens inputs and scales those longer than 1 down to 1."""
        return _shortened(inputs.flatten(1))

    def train(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Minimises for all models at once, and adds what makes the result private.

        Raises:
            UserError: Another defense changes the objective, which the proof is about.
        """
        changed = task.loss or task.objective or task.augment or task.regularise
        other = task.data.targets.is_floating_point() or task.recipe.weight_decay > 0
        if changed or other or not isinstance(task.architecture, Softmax):
            raise UserError(
                f"{self.name} cannot be composed with a defense that changes its objective",
                next_step=f"set {self.name}.weight_decay, in the place of another defense's or the "
                "recipe's, or compose it with a release stage",
            )
        weights = self._private(task)
        progress(1.0)
        return dict.fromkeys(task.checkpoints, _as_softmax(task, weights))

    @abstractmethod
    def _private(self, task: Task) -> Tensor:
        """Returns private weights `(K, d, C)` float64; the last input is the constant one."""

    def _problem(self, task: Task) -> Regression:
        # Again: single precision rounds up, and a defense behind this one may have changed inputs.
        inputs = _shortened(task.data.inputs.flatten(1).double())
        return Regression(
            inputs=torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1),
            labels=task.data.targets,
            members=task.members,
            denominator=task.sampling.batch / task.sampling.rate,
            decay=self.weight_decay,
            tilt=None,
            radius=INPUT_NORM,
            n_classes=task.n_classes,
        )


def _shortened(inputs: Tensor) -> Tensor:
    lengths: Tensor = torch.linalg.vector_norm(inputs, dim=1, keepdim=True)
    return inputs / lengths.clamp(min=1.0)


def normal(task: Task, name: str, *shape: int) -> Tensor:
    """Returns standard normal numbers `(K, *shape)` float64, each model's its own."""
    rows = []
    for model in task.models:
        generator = Generator().manual_seed(seed_for(task.seed, name, model))
        rows.append(torch.randn(*shape, generator=generator, dtype=torch.float64))
    return torch.stack(rows)


def _as_softmax(task: Task, weights: Tensor) -> Weights:
    assert isinstance(task.architecture, Softmax)
    (layer,) = task.architecture.layers(task.shape, task.n_classes)
    matrix = weights.float().transpose(1, 2)
    return {
        f"{layer.linear}.weight": matrix[..., :-1].contiguous(),
        f"{layer.linear}.bias": matrix[..., -1].contiguous(),
    }
