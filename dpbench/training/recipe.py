"""How a model is trained: the recipe a grid writes, and the steps it amounts to."""

from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from dpbench.component import Settings

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Sampling(NamedTuple):
    """The public sampling facts of a training: none depends on how many members a model got.

    Attributes:
        rate: Probability q that one member enters one batch, in (0, 1].
        steps: Number T of optimizer steps.
        batch: Expected batch size, the fixed denominator of every averaged gradient.
        steps_per_epoch: Steps that see the expected number of members once; may be fractional.
    """

    rate: float
    steps: int
    batch: float
    steps_per_epoch: float

    def step_of(self, epoch: float) -> int:
        """Returns the step at which `epoch` ends, at least 1 and at most `steps`."""
        return min(self.steps, max(1, round(epoch * self.steps_per_epoch)))


@dataclass(frozen=True, kw_only=True)
class Recipe(Settings):
    """Training hyper-parameters, the same for every model of a cell.

    Attributes:
        epochs: Passes over the *expected* number of members.
        batch_size: Examples per step.
        sampling_rate: Overrides `batch_size` by a fraction of the expected members; 1 is all.
        lr: Peak learning rate.
        momentum: Heavy-ball momentum.
        weight_decay: torch's convention, the gradient of ½λ‖W‖² over all parameters.
        schedule: `constant`, `linear` (to zero) or `cosine` (to zero).
        averaging: Fraction of the last steps whose weights are averaged (Polyak); 0 keeps the last.
        stop_epoch: Release the weights of this epoch; the schedule still spans `epochs`.
        patience: Stop a model after this many epochs without a lower loss, and release the
            weights of its best epoch.
        monitor: Whose loss that is: the public reference set's, or the model's own members', which
            must fall by 0.005.
        stop_accuracy: Stop a model after the first epoch with this accuracy on the reference set.
        optimizer: `sgd`, or `adam` (decay rates 0.9 and 0.999), which ignores momentum.
        engine: `dense` (softmax, MLP), `autograd` (any module), or the faster one that applies.
    """

    epochs: Positive = 40.0
    batch_size: Annotated[int, Field(ge=1)] = 64
    sampling_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    lr: Positive = 0.05
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    averaging: Annotated[float, Field(ge=0, lt=1)] = 0.0
    stop_epoch: Positive | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    monitor: Literal["reference", "members"] = "reference"
    stop_accuracy: Annotated[float, Field(gt=0, le=1)] | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"
    engine: Literal["auto", "dense", "autograd"] = "auto"

    def sampling(self, expected_members: float) -> Sampling:
        """Returns the sampling facts where a model has that many members on average."""
        rate = self.sampling_rate or min(1.0, self.batch_size / expected_members)
        per_epoch = 1 / rate
        return Sampling(
            rate=rate,
            steps=max(1, round(self.epochs * per_epoch)),
            batch=rate * expected_members,
            steps_per_epoch=per_epoch,
        )
