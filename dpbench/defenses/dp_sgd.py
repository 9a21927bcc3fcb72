"""DP-SGD: the baseline that every other defense has to beat."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dpbench import privacy
from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.dp_schedules import DEFAULT, Schedule, Tuned, find_schedule
from dpbench.defenses.search import Choice, Search
from dpbench.errors import UserError
from dpbench.training.recipe import Positive, Recipe, Sampling
from dpbench.training.task import Mechanism

_ADAM_LR = 0.01
_COUNT_NOISE = 20.0
"""Expected batch over the deviation of the noise on counts, as published."""


@register
@dataclass(frozen=True, kw_only=True)
class DpSgd(Defense):
    """Per-example clipping and Gaussian noise on Poisson samples, with a proven epsilon.

    The schedule is tuned per epsilon, for one network and data set each (`schedule`): full batches,
    no momentum, weights averaged over the second half of the steps. Sampling rate, steps and
    denominator are the same for every model whatever its number of members, so the claim holds
    under add/remove adjacency (Abadi et al. 2016, algorithm 1; De et al. 2022 for the recipe).
    epsilon = inf only clips, and claims nothing.

    Attributes:
        epsilon: Target at `delta`; the noise is the least that does not exceed it.
        noise_multiplier: sigma, instead of epsilon.
        delta: Of the claim.
        max_grad_norm: Clipping norm C; the tuned learning rate is divided by it.
        batch_size: Expected batch size; left out, the tuned full batch.
        epochs: Left out, the tuned number.
        lr: Left out, the tuned learning rate.
        momentum: Left out, none.
        optimizer: `sgd`, or `adam` on the noisy gradients, which is post-processing of them; its
            learning rate is not tuned per epsilon.
        augmentations: Copies of an example whose gradients are averaged before they are clipped
            (De et al. 2022, section 3.3), each changed by an `augmentation` that stands beside.
            It costs no privacy.
        quantile: Adaptive clipping (Andrew et al. 2021): the norm starts at `max_grad_norm` and
            follows this quantile of the gradient norms. The counts by which it does get noise of
            a twentieth of the batch, and more noise on the gradients pays for them.
        schedule: Which shipped schedule fills in the fields that are left out (docs/tuning.md).
    """

    name: ClassVar[str] = "dp_sgd"
    reference: ClassVar[str] = "Abadi et al. 2016, Deep Learning with Differential Privacy"
    tuned: ClassVar[str] = (
        "schedule per epsilon on public data, by 174 trials for the default grid and 32 to 74 for "
        "each other shipped schedule (docs/tuning.md)"
    )
    # Beside a learning rate, the clipping norm changes little: what counts is their product.
    search: ClassVar = {
        "lr": Search(0.1, 30.0),
        "epochs": Search(20.0, 200.0),
        "batch_size": Choice((None, None, 256, 64)),
        "max_grad_norm": Search(0.3, 3.0),
        "augmentations": Choice((1, 2, 4)),
    }
    promised: ClassVar[tuple[str, ...]] = ("epsilon", "noise_multiplier", "delta", "optimizer")

    epsilon: Annotated[float, Field(gt=0)] | None = None
    noise_multiplier: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    max_grad_norm: Positive = 1.0
    batch_size: Annotated[int, Field(ge=1)] | None = None
    epochs: Positive | None = None
    lr: Positive | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    optimizer: Literal["sgd", "adam"] = "sgd"
    augmentations: Annotated[int, Field(ge=1)] = 1
    quantile: Annotated[float, Field(gt=0, lt=1)] | None = None
    schedule: str = DEFAULT

    @property
    def borrows_schedule(self) -> bool:
        """Whether a shipped schedule fills in the number of steps or the learning rate."""
        return self.epochs is None or self.lr is None

    @property
    def replaces(self) -> frozenset[str]:
        """Everything that makes up a schedule."""
        schedule = {"epochs", "batch_size", "sampling_rate", "lr", "momentum", "optimizer"}
        return frozenset(schedule | {"schedule", "averaging"})

    @property
    def searched(self) -> Mapping[str, Search | Choice]:
        """Adam's steps are as long as its learning rate, whatever the clipping norm."""
        return (
            {**self.search, "lr": Search(0.001, 0.1)} if self.optimizer == "adam" else self.search
        )

    @property
    def cost(self) -> float:
        """Every copy of an example is a gradient."""
        return float(self.augmentations)

    def adapt(self, recipe: Recipe) -> Recipe:
        """Replaces the recipe's schedule by the tuned one, where the fields leave it open.

        Raises:
            UserError: Not exactly one of epsilon and noise_multiplier is given.
        """
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise UserError(
                f"dp_sgd: epsilon={self.epsilon}, noise_multiplier={self.noise_multiplier}",
                allowed="exactly one of epsilon and noise_multiplier",
                next_step="write dp_sgd: {epsilon: 8} or dp_sgd: {noise_multiplier: 1.0}",
            )
        shipped = find_schedule(self.schedule, where="dp_sgd.schedule")
        if self.schedule != DEFAULT and not self.borrows_schedule:
            raise UserError(
                f"dp_sgd.schedule: '{self.schedule}' changes nothing beside epochs and lr",
                next_step="leave out schedule, or one of epochs and lr",
            )
        tuned = shipped.at(self._aim(shipped))
        return replace(
            recipe,
            epochs=self.epochs or float(tuned.steps),
            batch_size=self.batch_size or recipe.batch_size,
            sampling_rate=None if self.batch_size else 1.0,
            lr=self.lr or self._tuned_lr(tuned),
            optimizer=self.optimizer,
            momentum=self.momentum or 0.0,
            schedule="constant",
            averaging=0.5,
        )

    def mechanism(self, sampling: Sampling) -> Mechanism:
        """Returns clipping and noise; the noise is calibrated when epsilon is given."""
        sigma = self.noise_multiplier
        if sigma is None:
            assert self.epsilon is not None
            sigma = privacy.calibrate(
                epsilon=self.epsilon,
                delta=self.delta,
                sampling_rate=sampling.rate,
                steps=sampling.steps,
            )
        described = privacy.SampledGaussian(
            noise_multiplier=sigma, sampling_rate=sampling.rate, steps=sampling.steps
        )
        counts = sampling.batch / _COUNT_NOISE
        return Mechanism(
            max_grad_norm=self.max_grad_norm,
            noise_multiplier=sigma if self.quantile is None else _beside_counts(sigma, counts),
            quantile=self.quantile,
            count_noise=0.0 if self.quantile is None else counts,
            claim=described.event() if sigma > 0 else None,
            delta=self.delta,
            multiplicity=self.augmentations,
        )

    def _tuned_lr(self, tuned: Tuned) -> float:
        """Returns the tuned rate; Adam's steps have the same length whatever the clipping norm."""
        return _ADAM_LR if self.optimizer == "adam" else tuned.lr / self.max_grad_norm

    def _aim(self, shipped: Schedule) -> float:
        """The epsilon to tune for; a given sigma is read as full batches at the middle schedule."""
        if self.epsilon is not None:
            return self.epsilon
        if not self.noise_multiplier:
            return math.inf
        middle = privacy.SampledGaussian(
            noise_multiplier=self.noise_multiplier,
            sampling_rate=1.0,
            steps=shipped.points[len(shipped.points) // 2].steps,
        )
        return privacy.epsilon(middle.event(), self.delta)


def _beside_counts(sigma: float, counts: float) -> float:
    """Returns the noise on gradients that, with that on counts, is a Gaussian mechanism of sigma.

    Andrew et al. 2021, theorem 1: a count of sensitivity 1/2 adds (1/2)² / counts² to 1 / sigma².

    Raises:
        UserError: The counts alone would cost more.
    """
    if sigma >= 2 * counts:
        raise UserError(
            f"dp_sgd.quantile: the noise {sigma:.3g} of this claim is more than counts of batches "
            f"of {_COUNT_NOISE * counts:.3g} leave room for",
            next_step="use larger batches or a larger epsilon",
        )
    return (sigma**-2 - (2 * counts) ** -2) ** -0.5 if sigma else 0.0
