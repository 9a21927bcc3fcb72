"""Objective perturbation: a random linear term in what is minimised."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dpbench import privacy
from dpbench.component import register
from dpbench.defenses.private_regression import (
    INPUT_NORM,
    SENSITIVITY,
    TOLERANCE,
    PrivateRegression,
    normal,
)
from dpbench.defenses.search import Search
from dpbench.training.convex import minimise
from dpbench.training.recipe import Sampling
from dpbench.training.task import Mechanism, Task

_FOR_OUTPUT = 0.01
"""Part of epsilon and delta that is spent on the minimiser's being inexact."""


@register
@dataclass(frozen=True, kw_only=True)
class ObjectivePerturbation(PrivateRegression):
    """Minimises `mean loss + Λ/2 |W|² + <B, W>/N` with Gaussian B of deviation ν in every entry.

    Kifer, Smith & Thakurta 2012, algorithm 1, for softmax regression with C classes; the inexact
    minimiser as in Iyengar et al. 2019 (approximate minima perturbation); accounted by the Gaussian
    privacy profile as in Redberg et al. 2023, which is for one output, and here for C.

    W determines B, so the density of W is that of B times a Jacobian determinant. One example more,
    with inputs x and label y, changes the logarithm of the density by two parts:

    - The determinant by 0 to `a = tr / (NΛ)`, where `tr = (1 - 1/C) |x|²` is the largest trace of
      the example's Hessian `(diag(p) - p pᵀ) ⊗ x xᵀ`. Its rank is C - 1, not 1 as in the papers, so
      the bound is on the trace. Decay is raised until a is at most half of epsilon.
    - B by the gradient `(p - y) ⊗ x`, so the log-density by `|p - y|²|x|²/2ν² ± <p - y, Bx>/ν²`. It
      is convex in p, so the worst p is a corner: the true class, which loses nothing, or another
      class k, which loses what a Gaussian mechanism loses whose output moves by `√2 |x|`.

    The worst of C - 1 Gaussian losses costs at most their sum: with `μ = √2 |x| / ν`,
    `delta(ε) <= (C - 1) delta_gaussian(ε - a, μ)`, tight for two classes but for a.

    The gradient left at the minimiser, of norm τ, moves it by at most τ/Λ; Gaussian noise hides
    that, out of a hundredth of the budget.
    """

    reference: ClassVar[str] = (
        "Kifer, Smith & Thakurta 2012, Private Convex Empirical Risk Minimization; Iyengar et al. "
        "2019, Towards Practical Differentially Private Convex Optimization"
    )
    search: ClassVar = {
        "epsilon": Search(1.0, 1000.0),
        "weight_decay": Search(1e-4, 0.1),
    }

    def mechanism(self, sampling: Sampling) -> Mechanism:
        """Returns the claim, one (epsilon, delta)."""
        del sampling
        return Mechanism(claim=privacy.ApproximateDp(self.epsilon, self.delta), delta=self.delta)

    def decay(self, denominator: float, n_classes: int) -> float:
        """Returns Λ: the weight decay, or more where the proof needs more."""
        return max(self.weight_decay, 2 * _trace(n_classes) / (self._inner_epsilon * denominator))

    def deviation(self, denominator: float, n_classes: int) -> float:
        """Returns ν: the determinant's part of epsilon is known, and the rest buys noise."""
        determinant = _trace(n_classes) / (denominator * self.decay(denominator, n_classes))
        share = (1 - _FOR_OUTPUT) * self.delta / (n_classes - 1)
        return SENSITIVITY / privacy.mu_gaussian(self._inner_epsilon - determinant, share)

    @property
    def _inner_epsilon(self) -> float:
        return (1 - _FOR_OUTPUT) * self.epsilon

    def _private(self, task: Task) -> Tensor:
        problem, classes = self._problem(task), task.n_classes
        decay = self.decay(problem.denominator, classes)
        shape = (problem.inputs.shape[1], classes)
        tilt = self.deviation(problem.denominator, classes) * normal(task, "tilt", *shape)
        tolerance = TOLERANCE * SENSITIVITY / problem.denominator
        weights = minimise(problem._replace(decay=decay, tilt=tilt), tolerance=tolerance)
        sigma = privacy.calibrate(
            epsilon=_FOR_OUTPUT * self.epsilon,
            delta=_FOR_OUTPUT * self.delta,
            sampling_rate=1.0,
            steps=1,
        )
        left = 2 * tolerance / decay
        return weights + sigma * left * normal(task, "perturbation", *shape)


def _trace(n_classes: int) -> float:
    """Returns the largest trace of one example's Hessian; uniform predictions have it."""
    return (1 - 1 / n_classes) * INPUT_NORM**2
