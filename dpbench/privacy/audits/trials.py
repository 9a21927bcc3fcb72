"""Independent trials: (score, bit) pairs, each from a training of its own."""

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from dpbench.arrays import Bools, Floats
from dpbench.errors import UserError
from dpbench.privacy.audits.audit_result import Errors
from dpbench.privacy.audits.coins import require_unbalanced


class Trials:
    """k independent (score, bit) pairs, each from a model of its own.

    The examples of one model share its training, so their errors are not independent trials: one
    lucky model moves all of them. Objects are made only by constructors that state where the
    independence comes from: `of_example`, `one_per_model` or `independent`.

    In all of them, no score may be computed with the bit of another trial. Leave-one-out shadows do
    that: model m is scored with the bits of the other models, whose scores were made with the bit
    of m. For such scores see `OneRun.of_model`.

    Attributes:
        scores: `(k,)` higher means more likely a member; infinities are allowed.
        members: `(k,)` the bits.
        origin: Where the independence comes from, in words.
    """

    scores: Floats
    members: Bools
    origin: str

    def __init__(self) -> None:
        raise TypeError(
            "Trials is made by Trials.of_example, Trials.one_per_model or Trials.independent: "
            "each says why its pairs are independent"
        )

    @classmethod
    def of_example(cls, scores: ArrayLike, members: ArrayLike, *, example: int) -> Self:
        """Returns the M trials of one example, which must not have been picked by its scores.

        The bound holds for this example, so also for the mechanism.

        Args:
            scores: `(M, n)` scores of M independently trained models.
            members: `(M, n)` bits.
            example: Column of the example.

        Raises:
            UserError: The arrays are not scores and bits, there is no such example, or the bits
                were balanced between the models.
        """
        values, bits = scores_and_bits(scores, members, dimensions=2)
        if not 0 <= example < values.shape[1]:
            raise UserError(
                f"example {example}: no such column", allowed=f"0..{values.shape[1] - 1}"
            )
        require_unbalanced(bits)
        return cls._make(values[:, example], bits[:, example], f"example {example} in each model")

    @classmethod
    def one_per_model(cls, scores: ArrayLike, members: ArrayLike, rng: np.random.Generator) -> Self:
        """Returns M trials: of each model, one example drawn anew and independently.

        Given the pool, the pairs are independent and identically distributed, and their error rates
        are averages over the pool, which obey what each example's rates obey (the region of Kairouz
        et al. 2015 is convex).

        Args:
            scores: `(M, n)` scores of M independently trained models.
            members: `(M, n)` bits.
            rng: Draws the examples.

        Raises:
            UserError: The arrays are not scores and bits, or the bits were balanced between the
                models.
        """
        values, bits = scores_and_bits(scores, members, dimensions=2)
        require_unbalanced(bits)
        models = np.arange(values.shape[0])
        drawn = rng.integers(0, values.shape[1], size=models.size)
        return cls._make(values[models, drawn], bits[models, drawn], "one example of each model")

    @classmethod
    def independent(cls, scores: ArrayLike, members: ArrayLike) -> Self:
        """Returns trials that the caller asserts to be independent.

        By calling this you assert that each pair comes from a training of its own (or, for gradient
        canaries, a step with its own noise and its own bit), with randomness of its own, and that
        no score was computed with the bit of another pair. Scores of many examples of one model do
        not qualify, however many there are.

        Args:
            scores: `(k,)` scores.
            members: `(k,)` bits; they need not be fair coins.

        Raises:
            UserError: The arrays are not scores and bits.
        """
        return cls._make(*scores_and_bits(scores, members, dimensions=1), "asserted independence")

    @classmethod
    def _make(cls, scores: Floats, members: Bools, origin: str) -> Self:
        made = object.__new__(cls)
        made.scores, made.members, made.origin = scores, members, origin
        return made

    def split(self, fraction: float, rng: np.random.Generator) -> tuple[Self, Self]:
        """Returns a random part with this fraction of the members and non-members, and the rest."""
        # Each kind by itself: a part without members, or without non-members, would prove nothing.
        chosen = np.zeros(self.members.size, dtype=np.bool_)
        for indices in (np.flatnonzero(self.members), np.flatnonzero(~self.members)):
            chosen[rng.permutation(indices)[: round(fraction * indices.size)]] = True
        return self._part(chosen), self._part(~chosen)

    def errors_at(self, threshold: float) -> Errors:
        """Returns the errors if those with a score of at least `threshold` are called members."""
        called = self.scores >= threshold
        members = int(np.count_nonzero(self.members))
        return Errors(
            false_positives=int(np.count_nonzero(called & ~self.members)),
            non_members=self.members.size - members,
            false_negatives=int(np.count_nonzero(~called & self.members)),
            members=members,
        )

    def curve(self) -> tuple[Floats, Errors]:
        """Returns all distinct scores as thresholds, and the errors at each of them."""
        inside, outside = np.sort(self.scores[self.members]), np.sort(self.scores[~self.members])
        thresholds = np.unique(self.scores)
        return thresholds, Errors(
            false_positives=outside.size - np.searchsorted(outside, thresholds, side="left"),
            non_members=outside.size,
            false_negatives=np.searchsorted(inside, thresholds, side="left"),
            members=inside.size,
        )

    def _part(self, chosen: Bools) -> Self:
        return self._make(self.scores[chosen], self.members[chosen], self.origin)


def require_trials(value: object, *, method: str) -> Trials:
    """Returns the value if it is `Trials`, and otherwise explains what is missing.

    Raises:
        TypeError: The value is something else.
    """
    if isinstance(value, Trials):
        return value
    shape = getattr(value, "shape", None)
    given = f"an array of shape {shape}" if shape is not None else type(value).__name__
    raise TypeError(
        f"{method} counts independent trials, and was given {given}. Pairs of one model are not "
        "independent: use Trials.one_per_model or Trials.of_example for scores (M, n) of M models, "
        "Trials.independent for pairs of which each has its own model, or a one-run audit"
    )


def scores_and_bits(scores: Any, members: Any, *, dimensions: int) -> tuple[Floats, Bools]:
    """Returns checked arrays of scores and bits.

    Raises:
        UserError: The shapes differ or have another number of dimensions, the arrays are empty, a
            score is NaN, or a bit is neither 0 nor 1.
    """
    values, bits = np.asarray(scores), np.asarray(members)
    shape = "(k,)" if dimensions == 1 else "(M, n)"
    if values.ndim != dimensions or values.shape != bits.shape or values.size == 0:
        raise UserError(
            f"scores have shape {values.shape} and members {bits.shape}",
            allowed=f"the same shape {shape}, not empty",
        )
    if values.dtype.kind not in "fiub" or bits.dtype.kind not in "fiub":
        raise UserError(f"scores are {values.dtype} and members {bits.dtype}", allowed="numbers")
    values = values.astype(np.float64)
    if np.isnan(values).any():
        raise UserError(f"scores: {np.count_nonzero(np.isnan(values))} values are NaN")
    if not np.isin(bits, (0, 1)).all():
        raise UserError("members: some values are neither 0 nor 1", allowed="0, 1, false, true")
    return values, bits.astype(np.bool_)
