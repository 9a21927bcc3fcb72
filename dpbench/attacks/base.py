"""Attacks, and the only way they see anything: an oracle limited to the threat model."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dpbench.component import Component

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]


class Access(IntEnum):
    """What the adversary is shown, weakest first."""

    LABEL = 1
    SCORE = 2
    WHITE_BOX = 3


class AccessError(Exception):
    """An attack asked for more than its declared access or query budget."""


class NotApplicable(Exception):
    """The attack cannot run in this setting; the row says why and carries no number."""


class Oracle:
    """Answers queries to M released models, and nothing else.

    Args:
        access: The most that may be shown.
        budget: Queries allowed per model and example; None is unlimited.
        pool_outputs: Returns the released scores `(M, n, C)` on the pool itself.
        query: Released scores `(M, k, C)` on other inputs `(k, *shape)`.
    """

    def __init__(
        self,
        *,
        access: Access,
        budget: int | None,
        pool_outputs: Callable[[], Floats],
        query: Callable[[Floats], Floats],
    ) -> None:
        self._access, self._budget = access, budget
        self._pool_outputs, self._query = pool_outputs, query
        self.queries = 0

    def scores(self, inputs: Floats | None = None) -> Floats:
        """Returns released scores `(M, k, C)`; needs score access.

        Args:
            inputs: `(n, *shape)`, one query for each pool example; None asks about the pool itself.
        """
        self._require(Access.SCORE)
        return self._ask(inputs)

    def predictions(self, inputs: Floats | None = None) -> Ints:
        """Returns predicted labels `(M, k)` int64; label access is enough."""
        labels: Ints = self._ask(inputs).argmax(-1)
        return labels

    def _ask(self, inputs: Floats | None) -> Floats:
        self.queries += 1
        if self._budget is not None and self.queries > self._budget:
            raise AccessError(f"query {self.queries} exceeds the budget of {self._budget}")
        return self._pool_outputs() if inputs is None else self._query(inputs)

    def _require(self, access: Access) -> None:
        if self._access < access:
            needed, given = access.name.lower(), self._access.name.lower()
            raise AccessError(f"{needed} access is needed, {given} given")


@dataclass(frozen=True, kw_only=True)
class View:
    """The adversary's view of one cell.

    Every model is a target in turn and the other M-1 models are its shadows: a statistic used for
    target t may use row t of `shadows` neither as a score nor as a bit.

    Attributes:
        labels: `(n,)` true labels of the challenge points.
        inputs: `(n, *shape)` the challenge points.
        n_classes: Number of classes C.
        target: Oracle to the models under attack.
        shadows: Oracle to the models whose bits are known: the same cell's (adaptive) or the
            undefended cell's (static).
        members: `(M, n)` bool, the shadows' bits; row t is also target t's secret.
        low, high, unit: `(*shape)` feature ranges, and the size of one raw unit, in input units.
        binary: `(*shape)` bool, features that take only the values low and high.
        is_image: Inputs are `(channels, height, width)`.
        rng: The attack's own generator.
    """

    labels: Ints
    inputs: Floats
    n_classes: int
    target: Oracle
    shadows: Oracle
    members: Bools
    low: Floats
    high: Floats
    unit: Floats
    binary: Bools
    is_image: bool
    rng: np.random.Generator


@dataclass(frozen=True, kw_only=True)
class Attack(Component):
    """One membership-inference attack. Higher scores mean more likely a member.

    Class variables:
        access: What it needs to see.
        needs_shadows: Whether its scores use `view.shadows` or `view.members`.
        reference: The paper that proposed it.
    """

    kind: ClassVar[str] = "attack"
    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = False
    reference: ClassVar[str] = ""

    @property
    def budget(self) -> int:
        """Queries the attack makes per target model and example."""
        return 1

    @abstractmethod
    def score(self, view: View) -> Floats:
        """Returns membership scores `(M, n)` of every challenge point for every target.

        Raises:
            NotApplicable: The setting lacks what the attack needs.
        """
