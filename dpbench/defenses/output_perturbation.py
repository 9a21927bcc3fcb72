"""Output perturbation: noise on the minimiser."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from dpbench import privacy
from dpbench.component import register
from dpbench.defenses.private_regression import SENSITIVITY, TOLERANCE, PrivateRegression, normal
from dpbench.defenses.search import Search
from dpbench.training.convex import minimise
from dpbench.training.recipe import Sampling
from dpbench.training.task import Mechanism, Task


@register
@dataclass(frozen=True, kw_only=True)
class OutputPerturbation(PrivateRegression):
    """Adds Gaussian noise to the weights of softmax regression.

    Chaudhuri et al. 2011, algorithm 1, for several classes and with Gaussian noise: the objective
    is λ-strongly convex and one example moves its gradient by at most L/N, so it moves the
    minimiser by at most L/(Nλ). The minimiser is found up to a gradient of norm τ, which is charged
    as 2τ/λ. A Gaussian mechanism, exactly accounted.
    """

    reference: ClassVar[str] = (
        "Chaudhuri, Monteleoni & Sarwate 2011, Differentially Private Empirical Risk Minimization, "
        "algorithm 1"
    )
    search: ClassVar = {
        "epsilon": Search(1.0, 1000.0),
        "weight_decay": Search(1e-3, 0.3),
    }

    def mechanism(self, sampling: Sampling) -> Mechanism:
        """Returns the claim."""
        described = privacy.SampledGaussian(
            noise_multiplier=self._sigma(), sampling_rate=1.0, steps=1
        )
        return Mechanism(claim=described.event(), delta=self.delta)

    def _sigma(self) -> float:
        return privacy.calibrate(epsilon=self.epsilon, delta=self.delta, sampling_rate=1.0, steps=1)

    def _private(self, task: Task) -> Tensor:
        problem = self._problem(task)
        one_example = SENSITIVITY / problem.denominator
        weights = minimise(problem, tolerance=TOLERANCE * one_example)
        moved = one_example * (1 + 2 * TOLERANCE) / self.weight_decay
        return weights + self._sigma() * moved * normal(task, "perturbation", *weights.shape[1:])
