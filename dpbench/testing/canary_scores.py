"""What a white-box adversary makes of the iterates of a private training.

She knows everything but the membership bit and the randomness: the crafted example, all weights
before and after every step, the recipe, the sampling rate and the noise. From two iterates in a row
she recovers the noised gradient of the step between them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from dpbench.models.build import built
from dpbench.training.schedule import learning_rates
from dpbench.training.task import Snapshots, Task, Weights

Floats = NDArray[np.float64]

# The output bias is the one parameter that background examples move.
_TOUCHED = "3.bias"
# Without any noise the likelihood ratio is infinite; rounding errors of single precision are not.
_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, kw_only=True, eq=False)
class Observations:
    """What the steps of K trainings show of the canary. One row is one independent trial.

    Attributes:
        projections: `(K, T)` noised gradients along the canary's own, in clipping norms: N(0,
            sigma^2) while the canary is not in the batch, N(shift, sigma^2) while it is.
        shifts: `(K, T)` length of the canary's clipped gradient, in clipping norms: 1, or a little
            less where the gradient has become shorter than the clipping norm.
        noise: `(K,)` mean square of the noised gradients in the weights that no example touches, in
            clipping norms: sigma^2 on average.
    """

    projections: Floats
    shifts: Floats
    noise: Floats


def observe(task: Task, snapshots: Snapshots) -> Observations:
    """Recovers every step's noised gradient, and looks along the canary's and at the noise.

    Args:
        task: Of `dpbench.testing.canary_game.canary_task`: its checkpoints are all steps, its last
            example is the canary.
        snapshots: Its iterates. They must start at `task.architecture.build`.
    """
    assert task.mechanism is not None
    norm = task.mechanism.max_grad_norm
    rates = learning_rates(task.recipe, task.sampling)
    before = _initial(task)
    velocity = {name: torch.zeros_like(value) for name, value in before.items()}
    projections, shifts, noise = [], [], []
    for step, rate in zip(task.checkpoints, rates, strict=True):
        after = {name: value.double() for name, value in snapshots[step].items()}
        moved = {name: (before[name] - after[name]) / rate for name in after}
        gradient = _gradient(task, before, moved, velocity)
        canary = _canary_gradient(task, before)
        length = _norms(canary)
        inside = {name: value for name, value in canary.items() if name != _TOUCHED}
        along = sum(_dots(gradient[name], value) for name, value in inside.items())
        projections.append(along / _norms(inside) * (task.sampling.batch / norm))
        shifts.append(_norms(inside) / length.clamp(min=norm))
        # Of the first layer, all features but the canary's are zero in every example.
        idle = gradient["1.weight"][..., 1:] * (task.sampling.batch / norm)
        noise.append(idle.square().mean((1, 2)))
        before, velocity = after, moved
    return Observations(
        projections=torch.stack(projections, 1).numpy(),
        shifts=torch.stack(shifts, 1).numpy(),
        noise=torch.stack(noise).mean(0).numpy(),
    )


def log_likelihood_ratio(observations: Observations, sampling_rate: float) -> Floats:
    """Returns the `(K,)` log-likelihood ratios of member against non-member.

    sum_t log(1 - q + q exp((2 s_t c_t - c_t^2) / (2 sigma^2))) with projections s and shifts c: the
    most powerful score against the claimed mechanism (Neyman and Pearson), and a valid one against
    any other. The adversary reads sigma off the weights that no example touches, each model's own,
    so that 0 is the best threshold for a mechanism with less noise than it claims as well.

    Args:
        observations: Of K trainings.
        sampling_rate: The claimed q.
    """
    variance = np.maximum(observations.noise, _LEAST_VARIANCE)[:, None]
    gain = observations.shifts * (2 * observations.projections - observations.shifts)
    gain /= 2 * variance
    if sampling_rate < 1:
        gain = np.logaddexp(np.log1p(-sampling_rate), np.log(sampling_rate) + gain)
    total: Floats = gain.sum(1)
    return total


def _initial(task: Task) -> Weights:
    network = built(task.architecture, task.shape, task.n_classes)
    models = len(task.models)
    return {
        name: value.double().expand(models, *value.shape)
        for name, value in network.state_dict().items()
    }


def _gradient(task: Task, before: Weights, moved: Weights, velocity: Weights) -> Weights:
    """Undoes momentum, weight decay and penalties, none of which depends on the data."""
    recipe = task.recipe
    gradient = {
        name: moved[name] - recipe.momentum * velocity[name] - recipe.weight_decay * before[name]
        for name in moved
    }
    if task.regularise is None:
        return gradient
    leaves = {name: value.clone().requires_grad_() for name, value in before.items()}
    penalty = task.regularise(leaves).sum()
    if not penalty.requires_grad:
        return gradient
    slopes = torch.autograd.grad(penalty, list(leaves.values()), materialize_grads=True)
    return {name: gradient[name] - slope for name, slope in zip(leaves, slopes, strict=True)}


def _canary_gradient(task: Task, weights: Weights) -> Weights:
    """Returns the gradient of the canary's loss at K models' weights, not clipped."""
    leaves = {name: value.clone().requires_grad_() for name, value in weights.items()}
    inputs = task.data.inputs[-1].flatten().double()
    hidden = torch.relu(leaves["1.weight"] @ inputs + leaves["1.bias"])
    logits = (leaves["3.weight"] @ hidden[..., None]).squeeze(-1) + leaves["3.bias"]
    target = task.data.targets[-1:].expand(len(logits), *task.data.targets.shape[1:])
    if task.loss is None:
        losses = functional.cross_entropy(logits, target, reduction="none")
    else:
        losses = task.loss(logits, target)
    gradients = torch.autograd.grad(losses.sum(), list(leaves.values()))
    return dict(zip(leaves, gradients, strict=True))


def _norms(gradient: Weights) -> Tensor:
    squares = [value.flatten(1).square().sum(1) for value in gradient.values()]
    return torch.stack(squares).sum(0).sqrt()


def _dots(some: Tensor, others: Tensor) -> Tensor:
    return (some * others).flatten(1).sum(1)
