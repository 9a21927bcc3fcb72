"""The named bounds B1 to B13: what each limits, what it needs, and where it comes from.

All of them hold in every game whose adjacency is the guarantee's. They differ in the quantity, in
what must be known of the mechanism, and in whether the prior of membership must be 1/2. Bounds of
one number share their argument; each quantity and each premise has a name of its own.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from numpy.typing import ArrayLike

from dpbench.errors import UserError, suggest
from dpbench.privacy.bounds import bounds, curve

Quantity = Literal[
    "accuracy",
    "advantage",
    "TPR at FPR",
    "advantage at FPR",
    "precision at FPR",
    "posterior",
    "AUC",
]
Premise = Literal["pure epsilon", "epsilon and delta", "exact mu", "trade-off curve"]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One named bound. The arguments of its function are its premises.

    Attributes:
        number: B1 to B13.
        quantity: The quantity that it limits.
        formula: One line for readers.
        function: Computes it; its arguments are among `epsilon`, `delta`, `mu`, `curve`, `prior`,
            `odds` and `fpr`.
        tight: Whether some mechanism that meets the premise attains it.
        source: The paper, or the bound from which it is derived.
        instead: Name of the bound to use if the premise is not met; empty if it always is.
    """

    number: str
    quantity: Quantity
    formula: str
    function: Callable[..., ArrayLike]
    tight: bool
    source: str
    instead: str = ""

    @property
    def name(self) -> str:
        """The name of its function, unique."""
        return self.function.__name__

    @functools.cached_property
    def arguments(self) -> tuple[str, ...]:
        """The names of the function's arguments."""
        return tuple(inspect.signature(self.function).parameters)

    @property
    def premise(self) -> Premise:
        """The property of the mechanism that must be known."""
        if "curve" in self.arguments:
            return "trade-off curve"
        if "mu" in self.arguments:
            return "exact mu"
        return "epsilon and delta" if "delta" in self.arguments else "pure epsilon"

    @property
    def even_prior(self) -> bool:
        """Whether it is an accuracy that holds for a prior of 1/2 only."""
        return self.quantity == "accuracy" and "prior" not in self.arguments


BOUNDS: tuple[Bound, ...] = (
    Bound(
        number="B1",
        quantity="accuracy",
        formula="e^eps / 2",
        function=bounds.accuracy_half_exp,
        tight=False,
        source="Yeom et al. 2018, as an accuracy",
        instead="accuracy_prior",
    ),
    Bound(
        number="B2",
        quantity="advantage",
        formula="e^eps - 1",
        function=bounds.advantage_yeom,
        tight=False,
        source="Yeom et al. 2018, Theorem 1",
        instead="advantage_epsilon",
    ),
    Bound(
        number="B3",
        quantity="advantage",
        formula="1 - e^-eps (1 - delta)",
        function=bounds.advantage_erlingsson,
        tight=False,
        source="Erlingsson et al. 2019",
    ),
    Bound(
        number="B4",
        quantity="advantage",
        formula="(e^eps - 1 + 2 delta) / (e^eps + 1)",
        function=bounds.advantage_epsilon,
        tight=True,
        source="Humphries et al. 2020, Theorem III.1",
    ),
    Bound(
        number="B4",
        quantity="accuracy",
        formula="(e^eps + delta) / (e^eps + 1)",
        function=bounds.accuracy_epsilon,
        tight=True,
        source="Humphries et al. 2020, Theorem III.1",
        instead="accuracy_prior",
    ),
    Bound(
        number="B5",
        quantity="TPR at FPR",
        formula="min(e^eps FPR + delta, 1 - e^-eps (1 - delta - FPR))",
        function=bounds.tpr_epsilon,
        tight=True,
        source="Kairouz et al. 2015",
    ),
    Bound(
        number="B6",
        quantity="TPR at FPR",
        formula="Phi(Phi^-1(FPR) + mu)",
        function=bounds.tpr_gaussian,
        tight=True,
        source="Dong et al. 2022",
        instead="tpr_curve",
    ),
    Bound(
        number="B6",
        quantity="advantage",
        formula="2 Phi(mu / 2) - 1",
        function=bounds.advantage_gaussian,
        tight=True,
        source="Dong et al. 2022",
        instead="advantage_curve",
    ),
    Bound(
        number="B6",
        quantity="AUC",
        formula="Phi(mu / sqrt 2)",
        function=bounds.auc_gaussian,
        tight=True,
        source="Dong et al. 2022",
        instead="auc_curve",
    ),
    Bound(
        number="B7",
        quantity="advantage",
        formula="delta at epsilon = 0, the total variation",
        function=curve.advantage_curve,
        tight=True,
        source="Kulynych et al. 2024",
        instead="advantage_epsilon",
    ),
    Bound(
        number="B8",
        quantity="TPR at FPR",
        formula="the least of B5 over all (eps, delta(eps))",
        function=curve.tpr_curve,
        tight=True,
        source="Dong et al. 2022",
        instead="tpr_epsilon",
    ),
    Bound(
        number="B9",
        quantity="accuracy",
        formula="max(B4, p + (1 - p) delta, 1 - p + p delta) at prior p",
        function=bounds.accuracy_prior,
        tight=True,
        source="from B5",
    ),
    Bound(
        number="B9",
        quantity="accuracy",
        formula="Bayes accuracy for N(0, 1) against N(mu, 1)",
        function=bounds.accuracy_gaussian,
        tight=True,
        source="from B6",
        instead="accuracy_curve",
    ),
    Bound(
        number="B9",
        quantity="accuracy",
        formula="max over FPR of p TPR + (1 - p) (1 - FPR), TPR of B8",
        function=curve.accuracy_curve,
        tight=True,
        source="from B8",
        instead="accuracy_prior",
    ),
    Bound(
        number="B10",
        quantity="posterior",
        formula="sigmoid(logit p + eps) at prior p",
        function=bounds.posterior_epsilon,
        tight=True,
        source="Bayes' rule",
        instead="precision_epsilon",
    ),
    Bound(
        number="B11",
        quantity="posterior",
        formula="p + eps / 4 at prior p",
        function=bounds.posterior_quarter,
        tight=False,
        source="Sablayrolles et al. 2019, Theorem 3",
        instead="precision_epsilon",
    ),
    Bound(
        number="B12",
        quantity="precision at FPR",
        formula="TPR / (TPR + odds FPR), TPR of B5",
        function=bounds.precision_epsilon,
        tight=True,
        source="Jayaraman et al. 2021",
    ),
    Bound(
        number="B12",
        quantity="precision at FPR",
        formula="TPR / (TPR + odds FPR), TPR of B6",
        function=bounds.precision_gaussian,
        tight=True,
        source="Jayaraman et al. 2021",
        instead="precision_curve",
    ),
    Bound(
        number="B12",
        quantity="precision at FPR",
        formula="TPR / (TPR + odds FPR), TPR of B8",
        function=curve.precision_curve,
        tight=True,
        source="Jayaraman et al. 2021",
        instead="precision_epsilon",
    ),
    Bound(
        number="B12",
        quantity="advantage at FPR",
        formula="TPR - FPR, TPR of B5",
        function=bounds.advantage_at_fpr,
        tight=True,
        source="Jayaraman et al. 2021",
    ),
    Bound(
        number="B12",
        quantity="advantage at FPR",
        formula="TPR - FPR, TPR of B8",
        function=curve.advantage_at_fpr_curve,
        tight=True,
        source="Jayaraman et al. 2021",
        instead="advantage_at_fpr",
    ),
    Bound(
        number="B13",
        quantity="AUC",
        formula="area under B5",
        function=bounds.auc_epsilon,
        tight=True,
        source="from B5",
    ),
    Bound(
        number="B13",
        quantity="AUC",
        formula="area under B8",
        function=curve.auc_curve,
        tight=True,
        source="from B8",
        instead="auc_epsilon",
    ),
)


def find_bound(name: str) -> Bound:
    """Returns the bound of that name.

    Raises:
        UserError: No bound has that name.
    """
    for bound in BOUNDS:
        if bound.name == name:
            return bound
    names = [bound.name for bound in BOUNDS]
    # Users type numbers, too; one number may belong to several bounds.
    numbered = [bound.name for bound in BOUNDS if bound.number == name.upper()]
    raise UserError(
        f"bound: unknown name '{name}'",
        allowed=", ".join(numbered or names),
        next_step=suggest(name, names),
    )
