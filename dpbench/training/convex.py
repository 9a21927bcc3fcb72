"""Exact minimisers of regularised softmax regression, for K models side by side."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from dpbench.training.task import Diverged

_MOST_STEPS = 20_000
_LOOK_EVERY = 10


class Regression(NamedTuple):
    """`J_k(W) = (1/N) sum_i m_ki CE(W x_i, y_i) + λ/2 |W|² + <B_k, W> / N`.

    Attributes:
        inputs: `(n, d)` float64 with a constant one, of norm at most `radius`.
        labels: `(n,)` int64.
        members: `(K, n)` bool, m.
        denominator: N, fixed whatever the number of members.
        decay: λ.
        tilt: `(K, d, C)` float64, B, or None.
        radius: Largest norm of an input.
        n_classes: C.
    """

    inputs: Tensor
    labels: Tensor
    members: Tensor
    denominator: float
    decay: float
    tilt: Tensor | None
    radius: float
    n_classes: int


def minimise(problem: Regression, *, tolerance: float) -> Tensor:
    """Returns the minimisers `(K, d, C)` float64, with gradients of norm at most `tolerance`.

    Nesterov's method for a strongly convex function: the loss of one example is 1/2 |x|²-smooth.

    Raises:
        Diverged: The tolerance was not reached.
    """
    models, width = len(problem.members), problem.inputs.shape[1]
    most = float(problem.members.sum(1).max()) / problem.denominator
    # The softmax's Hessian has norm 1/2 at most. The largest membership stands for all models.
    smoothness = most * problem.radius**2 / 2 + problem.decay
    root = math.sqrt(problem.decay / smoothness)
    momentum = (1 - root) / (1 + root)
    weights = torch.zeros(models, width, problem.n_classes, dtype=torch.float64)
    ahead = weights.clone()
    one_hot = functional.one_hot(problem.labels, problem.n_classes).double()
    for step in range(_MOST_STEPS):
        # A look costs as much as a step.
        if step % _LOOK_EVERY == 0:
            norms = _gradient(problem, weights, one_hot).flatten(1).norm(dim=1)
            if float(norms.max()) <= tolerance:
                return weights
        moved = ahead - _gradient(problem, ahead, one_hot) / smoothness
        ahead = moved + momentum * (moved - weights)
        weights = moved
    raise Diverged(f"no minimiser within {tolerance:g} after {_MOST_STEPS} steps: raise the decay")


def _gradient(problem: Regression, weights: Tensor, one_hot: Tensor) -> Tensor:
    """Returns the gradients `(K, d, C)`; all models share one product each way."""
    models, width, classes = weights.shape
    # All models' columns beside each other: one product of a wide matrix instead of K narrow ones.
    flat = weights.permute(1, 0, 2).reshape(width, models * classes)
    outputs = (problem.inputs @ flat).view(-1, models, classes)
    delta = outputs.softmax(-1).sub_(one_hot[:, None]).mul_(problem.members.T[..., None])
    gradient = problem.inputs.T @ delta.view(len(delta), -1)
    mean = gradient.view(width, models, classes).permute(1, 0, 2) / problem.denominator
    if problem.tilt is not None:
        mean = mean + problem.tilt / problem.denominator
    return mean + problem.decay * weights
