"""Attacks, and the oracle through which they see models, limited to the threat model."""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from dpbench.arrays import Bools as Bools
from dpbench.arrays import Floats as Floats
from dpbench.arrays import Ints as Ints
from dpbench.component import Component
from dpbench.errors import NoResult

_A = TypeVar("_A", bound=NDArray[Any])

Points = Literal["challenge", "reference"]
"""The n challenge points, or the r public points that no model was trained on."""


class Access(IntEnum):
    """The adversary's access, weakest first."""

    LABEL = 1
    SCORE = 2
    WHITE_BOX = 3


class AccessError(Exception):
    """An attack asked for more than its declared access or query budget."""


class NotApplicable(NoResult):
    """The attack cannot run in this setting; the row says why and carries no number."""

    status: ClassVar[str] = "not_applicable"


class WhiteBox(Protocol):
    """Quantities of M models and n challenge points that need their weights, as NumPy arrays.

    The loss is the cross-entropy on the true label, without dropout, of the trained model itself:
    no release stage hides weights. p parameters are one row, flattened in the order of the network.
    """

    @property
    def linear(self) -> bool:
        """Whether logits are affine in the weights, so that averaged weights average logits."""

    @property
    def has_head(self) -> bool:
        """Whether the network ends in an affine layer that returns the logits."""

    def features(self, of: Points) -> Floats:
        """Returns the inputs `(M, k, h)` of that last affine layer at the k points; read-only."""

    def head(self) -> Floats:
        """Returns that layer's weights, and its bias as the last column: `(M, C, h + 1)`."""

    def weights(self) -> Floats:
        """Returns the released weights `(M, p)`."""

    def initial_weights(self) -> Floats:
        """Returns the weights `(M, p)` from which training started."""

    def logits(self) -> Floats:
        """Returns the logits `(M, n, C)` at the released weights."""

    def influences(self, *, at_once: int, steps: int) -> Iterator[Floats]:
        """Yields the gradients `(M, k, d)` of the true class's centred logit in the input.

        The mean over `steps` places between zero and each challenge point, or, with one step, at
        the point itself; `at_once` points at a time, in order.
        """

    def gradient_norms(self, of: Literal["weights", "inputs"]) -> Floats:
        """Returns the norms `(M, n)` of each example's loss gradient at the released weights."""

    def slopes(self, at: Floats, along: Floats) -> Floats:
        """Returns each example's directional derivative of the loss `(M, n)`, not normalised.

        Args:
            at: `(M, p)` weights, one row for each model.
            along: `(M, p)` directions.
        """


class Oracle:
    """Answers queries to M released models, and nothing else.

    Args:
        access: The most that may be shown.
        budget: Queries allowed per model and example; None is unlimited.
        pool_outputs: Returns the released scores `(M, n, C)` on the pool itself.
        query: Released scores `(M, k, C)` on other inputs `(k, *shape)`, the same for all models.
        query_each: Released scores `(k, b, C)` of models `(k,)`, on account of points `(k,)`, on
            inputs `(k, b, *shape)` of their own; None where such queries cannot be made.
        blocks: The released scores `(m, k, C)` of some models after others, on other inputs or
            (None) on the pool itself, where not all of them at once need fit into memory.
        white_box: The models' weights, where there are any to see.
    """

    def __init__(
        self,
        *,
        access: Access,
        budget: int | None,
        pool_outputs: Callable[[], Floats],
        query: Callable[[Floats], Floats],
        query_each: Callable[[Ints, Ints, Floats], Floats] | None = None,
        blocks: Callable[[Floats | None], Iterator[Floats]] | None = None,
        white_box: WhiteBox | None = None,
    ) -> None:
        self._access, self._budget = access, budget
        self._pool_outputs, self._query, self._query_each = pool_outputs, query, query_each
        self._blocks, self._white_box = blocks, white_box
        # Queries about all points count for every pair alike; those of `predictions_at` count for
        # the pairs that make them.
        self._rounds, self._spent = 0, np.zeros((0, 0), np.int64)

    @property
    def queries(self) -> int:
        """Queries made so far about the model and example that was asked about most."""
        return self._rounds + int(self._spent.max(initial=0))

    def scores(self, inputs: Floats | None = None) -> Floats:
        """Returns released scores `(M, k, C)`; needs score access.

        Args:
            inputs: `(n, *shape)`, one query for each pool example; None asks about the pool itself.
        """
        self._require(Access.SCORE)
        return self._ask(inputs)

    def statistic(
        self, function: Callable[[Floats], Floats], inputs: Floats | None = None
    ) -> Floats:
        """Returns a function of the released scores, `(M, k)`; needs score access.

        It takes less memory than `scores`, of which there are C times as many.

        Args:
            function: From the released scores `(m, k, C)` of m models to `(m, k)`.
            inputs: As in `scores`, and so is the cost of one query.
        """
        self._require(Access.SCORE)
        return self._each(function, inputs)

    def predictions(self, inputs: Floats | None = None) -> Ints:
        """Returns predicted labels `(M, k)` int64; label access is enough."""
        return self._each(lambda released: released.argmax(-1), inputs)

    def predictions_at(self, models: Ints, points: Ints, inputs: Floats) -> Ints:
        """Returns predicted labels `(k, b)` of inputs that are chosen for each pair.

        Args:
            models: `(k,)` the models to query.
            points: `(k,)` the challenge points to which the queries are charged.
            inputs: `(k, b, *shape)` b queries for each of the k (model, point) pairs.

        Raises:
            AccessError: A pair has used up its budget; nothing is answered.
            NotApplicable: These models answer queries about whole sets of points only.
        """
        if self._query_each is None:
            raise NotApplicable("these models answer no queries of the adversary's own choice")
        self._charge(models, points, inputs.shape[1])
        labels: Ints = self._query_each(models, points, inputs).argmax(-1)
        return labels

    @property
    def linear(self) -> bool:
        """Whether logits are affine in the weights; needs white-box access, costs no query.

        Raises:
            NotApplicable: There are no weights to see. All white-box methods below raise it, too.
        """
        return self._weights_shown().linear

    def weights(self) -> Floats:
        """Returns the released weights `(M, p)`; needs white-box access, as all that follow."""
        return self._inside().weights()

    def initial_weights(self) -> Floats:
        """Returns the weights `(M, p)` from which training started: the worst case."""
        return self._inside().initial_weights()

    def logits(self) -> Floats:
        """Returns the logits `(M, n, C)` of the challenge points, before any release stage."""
        return self._inside().logits()

    def features(self, of: Points = "challenge") -> Floats:
        """Returns the inputs `(M, k, h)` of the last affine layer at k points; not to be changed.

        With `head` they make the logits: `head[..., :-1] @ features + head[..., -1]`.

        Args:
            of: The n challenge points, or the r public points.

        Raises:
            NotApplicable: The network does not end in an affine layer.
        """
        return self._inside(head=True).features(of)

    def head(self) -> Floats:
        """Returns the last affine layer, bias as the last column: `(M, C, h + 1)`.

        Raises:
            NotApplicable: The network does not end in an affine layer.
        """
        return self._inside(head=True).head()

    def influences(self, *, at_once: int, steps: int = 1) -> Iterator[Floats]:
        """Yields the gradients `(M, k, d)` of `z_y - mean_k z_k` in the flattened input.

        All together they are one answer about each challenge point.

        Args:
            at_once: Points at a time; the last block may be smaller.
            steps: The gradient is the mean over so many places in the middle of equal parts of the
                segment from zero to the point; with one, it is that at the point itself.
        """
        return self._inside().influences(at_once=at_once, steps=steps)

    def gradient_norms(self, of: Literal["weights", "inputs"] = "weights") -> Floats:
        """Returns the norms `(M, n)` of each challenge point's loss gradient.

        Args:
            of: With respect to the released weights, or to the input.
        """
        return self._inside().gradient_norms(of)

    def slopes(self, at: Floats, along: Floats) -> Floats:
        """Returns `(M, n)` the derivative of each challenge point's loss along a direction.

        Args:
            at: `(M, p)` weights at which to differentiate, one row for each model.
            along: `(M, p)` directions, of any length.
        """
        return self._inside().slopes(at, along)

    def _ask(self, inputs: Floats | None) -> Floats:
        self._count()
        return self._pool_outputs() if inputs is None else self._query(inputs)

    def _each(self, function: Callable[[Floats], _A], inputs: Floats | None) -> _A:
        if self._blocks is None:
            return function(self._ask(inputs))
        self._count()
        found = [function(released) for released in self._blocks(inputs)]
        # One block is passed on as it is: joining would copy it.
        return cast(_A, found[0] if len(found) == 1 else np.concatenate(found))

    def _inside(self, *, head: bool = False) -> WhiteBox:
        """Counts one white-box query; `head` refuses networks without an affine last layer."""
        shown = self._weights_shown()
        if head and not shown.has_head:
            raise NotApplicable("the network does not end in an affine layer")
        self._count()
        return shown

    def _weights_shown(self) -> WhiteBox:
        self._require(Access.WHITE_BOX)
        if self._white_box is None:
            raise NotApplicable("there are no weights to see in this setting")
        return self._white_box

    def _count(self) -> None:
        self._rounds += 1
        self._within_budget(self.queries)

    def _charge(self, models: Ints, points: Ints, queries: int) -> None:
        if not len(models):
            return
        # The oracle does not know how many models and points there are: the table grows on demand.
        missing = np.maximum(np.array([models.max(), points.max()]) + 1 - self._spent.shape, 0)
        if missing.any():
            self._spent = np.pad(self._spent, [(0, more) for more in missing])
        # One pair may occur several times in a call, which plain indexing would count once.
        np.add.at(self._spent, (models, points), queries)
        self._within_budget(self._rounds + int(self._spent[models, points].max()))

    def _within_budget(self, queries: int) -> None:
        if self._budget is not None and queries > self._budget:
            raise AccessError(f"query {queries} exceeds the budget of {self._budget}")

    def _require(self, access: Access) -> None:
        if self._access < access:
            needed, given = access.name.lower(), self._access.name.lower()
            raise AccessError(f"{needed} access is needed, {given} given")


class Extent(NamedTuple):
    """The part of a cell that is attacked: the first models and the first challenge points.

    Both are in random order already. None stands for all of them.
    """

    models: int | None = None
    points: int | None = None

    def of(self, models: int, points: int) -> tuple[int, int]:
        """Returns how many models and points are attacked, given how many there are."""
        wanted = (self.models or models, self.points or points)
        return min(wanted[0], models), min(wanted[1], points)


@dataclass(frozen=True, kw_only=True)
class View:
    """The adversary's view of one cell.

    Every model is a target in turn and the other M-1 models are its shadows: a statistic used for
    target t may use row t of `shadows` neither as a score nor as a bit. (An attack that declares
    `knows_other_bits` may use row t of `members`, but for point i never bit i of it.)

    Attributes:
        labels: `(n,)` true labels of the challenge points.
        inputs: `(n, *shape)` the challenge points.
        n_classes: Number of classes C.
        target: Oracle to the models under attack.
        shadows: Oracle to the models whose bits are known: the same cell's (adaptive) or the
            undefended cell's (static).
        members: `(M, n)` bool, the shadows' bits; row t is also target t's secret.
        reference_inputs: `(r, *shape)` public points that no model was trained on; r may be 0.
        reference_labels: `(r,)` their labels.
        low, high, unit: `(*shape)` feature ranges, and the size of one raw unit, in input units.
        binary: `(*shape)` bool, features that take only the values low and high.
        is_image: Inputs are `(channels, height, width)`.
        rng: The attack's own generator.
        students: Returns the scores `(M, S, n, C)` that the S students of each target release on
            the challenge points; None if there are none. Students are distilled from their
            target on the reference set.
    """

    labels: Ints
    inputs: Floats
    n_classes: int
    target: Oracle
    shadows: Oracle
    members: Bools
    reference_inputs: Floats
    reference_labels: Ints
    low: Floats
    high: Floats
    unit: Floats
    binary: Bools
    is_image: bool
    rng: np.random.Generator
    students: Callable[[], Floats] | None = None


@dataclass(frozen=True, kw_only=True)
class Attack(Component):
    """One membership-inference attack. Higher scores mean more likely a member.

    Class variables:
        access: The access to the target that it needs.
        shadow_access: Its access to its own shadows; None is the same as to the target.
        knows_other_bits: Whether the score of a point uses the target's membership bits of *other*
            points: an auditor who knows all of the training set but one example. Guarantees of
            differential privacy hold against that adversary too.
        reference: The paper that proposed it.
    """

    kind: ClassVar[str] = "attack"
    access: ClassVar[Access] = Access.SCORE
    shadow_access: ClassVar[Access | None] = None
    knows_other_bits: ClassVar[bool] = False
    reference: ClassVar[str] = ""

    @property
    def needs_shadows(self) -> bool:
        """Whether scores use `view.shadows` or `view.members`; often a class variable."""
        return False

    @property
    def budget(self) -> int:
        """Queries the attack makes per target model and example."""
        return 1

    @property
    def extent(self) -> Extent:
        """The models and points that are attacked: all, unless each takes thousands of queries."""
        return Extent()

    @property
    def n_students(self) -> int:
        """How many students of each target `view.students` must provide."""
        return 0

    @abstractmethod
    def score(self, view: View) -> Floats:
        """Returns membership scores `(M, n)` of every challenge point for every target.

        Raises:
            NotApplicable: The setting lacks what the attack needs.
        """
