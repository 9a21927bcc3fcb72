"""Objective perturbation: a random linear term in what is minimised."""

import math
from dataclasses import dataclass
from typing import ClassVar

from scipy.stats import chi2
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

_FOR_OUTPUT = 0.05
"""Part of epsilon and delta that is spent on the minimiser's being inexact."""


@register
@dataclass(frozen=True, kw_only=True)
class ObjectivePerturbation(PrivateRegression):
    """Minimises `mean loss + Λ/2 |W|² + <B, W>/N` with Gaussian B.

    Kifer, Smith & Thakurta 2012, algorithm 1, for softmax regression with C classes; the inexact
    minimiser as in Iyengar et al. 2019 (approximate minima perturbation). W and B determine each
    other, so the density of W is that of B times a Jacobian determinant. One example

    - multiplies the determinant by at most `exp(tr/ (NΛ))`, tr = (1 - 1/C) |x|² the largest trace
      of its Hessian, whose rank is C - 1, not 1: decay is raised until this is e^(ε/2);
    - moves B by `g = (p - y) x`, at a log-ratio of at most `ζ q / ν + ζ² / (2 ν²)`, ζ the largest
      norm of g, where `|B x| <= q ν |x|`. For a fixed x, Bx is Gaussian in C dimensions, so this
      fails with probability δ for q² the chi-squared quantile. ν is such that it is ε/2.

    The gradient left at the minimiser, of norm τ, moves it by τ/Λ; Gaussian noise hides that, out
    of a twentieth of the budget.
    """

    reference: ClassVar[str] = (
        "Kifer, Smith & Thakurta 2012, Private Convex Empirical Risk Minimization; Iyengar et al. "
        "2019, Towards Practical Differentially Private Convex Optimization"
    )
    search: ClassVar = {
        "epsilon": Search(1.0, 1000.0),
        "weight_decay": Search(1e-3, 1.0),
    }

    def mechanism(self, sampling: Sampling) -> Mechanism:
        """Returns the claim, one (epsilon, delta)."""
        del sampling
        return Mechanism(claim=privacy.ApproximateDp(self.epsilon, self.delta), delta=self.delta)

    def decay(self, denominator: float, n_classes: int) -> float:
        """Returns Λ: the weight decay, or more where the proof needs more."""
        trace = (1 - 1 / n_classes) * INPUT_NORM**2
        return max(self.weight_decay, 2 * trace / (self._inner_epsilon * denominator))

    def deviation(self, n_classes: int) -> float:
        """Returns ν, the deviation of every entry of B."""
        q = math.sqrt(chi2.isf((1 - _FOR_OUTPUT) * self.delta, n_classes))
        # u = ζ/ν solves u²/2 + q u = ε/2; written so that nothing cancels.
        u = self._inner_epsilon / (q + math.sqrt(q**2 + self._inner_epsilon))
        return SENSITIVITY / u

    @property
    def _inner_epsilon(self) -> float:
        return (1 - _FOR_OUTPUT) * self.epsilon

    def _private(self, task: Task) -> Tensor:
        problem, classes = self._problem(task), task.n_classes
        decay = self.decay(problem.denominator, classes)
        shape = (problem.inputs.shape[1], classes)
        tilt = self.deviation(classes) * normal(task, "tilt", *shape)
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
