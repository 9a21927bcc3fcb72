"""The canaries of one training, which may depend on each other in any way."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from dpbench.arrays import Bools, Floats
from dpbench.errors import UserError
from dpbench.privacy.audits.audit_result import OneRunGuesses
from dpbench.privacy.audits.coins import require_fair
from dpbench.privacy.audits.trials import Trials, scores_and_bits
from dpbench.seeds import rng_for

FAIR = "bits were independent fair coins, and no score used a bit of these canaries"

# Fair coins give a share of members this many deviations from one half with probability 2e-9.
_DEVIATIONS = 6.0
_SHARES = (0.01, 0.05, 0.25)


class Guesses(NamedTuple):
    """How many canaries to guess; must be fixed without looking at their bits.

    Attributes:
        top: How many with the highest scores are called members.
        bottom: How many with the lowest are called non-members.
    """

    top: int
    bottom: int


class OneRun:
    """m canaries whose bits were independent fair coins, with scores made without those bits.

    The scores may depend on each other in any way, as those of one model do. They may use anything
    but the bits: the model, public data, shadow models trained on other bits.

    Attributes:
        scores: `(m,)` higher means more likely a member; infinities are allowed.
        members: `(m,)` the bits.
        origin: Where the canaries come from, in words.
    """

    scores: Floats
    members: Bools
    origin: str

    def __init__(self) -> None:
        raise TypeError(
            "OneRun is made by OneRun.of_canaries, OneRun.of_model, OneRun.pooled or "
            "OneRun.of_trials: each says whose bits were fair coins"
        )

    @classmethod
    def of_canaries(cls, scores: ArrayLike, members: ArrayLike) -> Self:
        """Returns the m canaries of one training.

        Args:
            scores: `(m,)` scores.
            members: `(m,)` bits, each drawn by an independent fair coin before the training.

        Raises:
            UserError: The arrays are not scores and bits, or the bits are not fair coins.
        """
        return cls._make(*scores_and_bits(scores, members, dimensions=1), "canaries of one model")

    @classmethod
    def of_model(cls, scores: ArrayLike, members: ArrayLike, *, model: int) -> Self:
        """Returns the n canaries of one of M models, which must not have been picked by its scores.

        The other models may have served as its shadows: their bits are other coins.

        Args:
            scores: `(M, n)` scores.
            members: `(M, n)` bits, independent fair coins.
            model: Row of the model.

        Raises:
            UserError: The arrays are not scores and bits, there is no such model, or the bits are
                not independent fair coins: if they are balanced, the shadows' bits reveal this
                model's.
        """
        values, bits = scores_and_bits(scores, members, dimensions=2)
        if not 0 <= model < values.shape[0]:
            raise UserError(f"model {model}: no such row", allowed=f"0..{values.shape[0] - 1}")
        require_fair(bits)
        return cls._make(values[model], bits[model], "canaries of one model")

    @classmethod
    def of_each_model(cls, scores: ArrayLike, members: ArrayLike) -> list[Self]:
        """Returns `of_model` of each model; checks the table of bits only once.

        Raises:
            UserError: The arrays are not scores and bits, or the bits are not independent fair
                coins.
        """
        values, bits = scores_and_bits(scores, members, dimensions=2)
        require_fair(bits)
        return [
            cls._make(*pair, "canaries of one model") for pair in zip(values, bits, strict=True)
        ]

    @classmethod
    def pooled(cls, scores: ArrayLike, members: ArrayLike) -> Self:
        """Returns all M * n canaries of M independently trained models.

        Together the M trainings are one mechanism whose input is all M * n bits and whose output is
        all M models. A bit enters one training only, and the others use none of its randomness, so
        the whole is (epsilon, delta)-DP in each bit as each training is, and the theorems about one
        run hold for it, however the examples of one model depend on each other.

        They need guesses that are computed from the models alone. Leave-one-out shadows are not:
        model m is scored with the bits of the others, which are guessed too. Such scores can be
        wrong together more often than any mechanism allows; see `of_model`.

        Args:
            scores: `(M, n)` scores, computed without any of the bits.
            members: `(M, n)` bits, independent fair coins.

        Raises:
            UserError: The arrays are not scores and bits, or the bits are not fair coins.
        """
        values, bits = scores_and_bits(scores, members, dimensions=2)
        require_fair(bits)
        return cls._make(values.ravel(), bits.ravel(), f"canaries of {len(values)} models, pooled")

    @classmethod
    def of_trials(cls, trials: Trials) -> Self:
        """Returns independent trials with fair bits as the canaries of one mechanism (`pooled`).

        Raises:
            UserError: The bits are not fair coins.
        """
        return cls._make(trials.scores, trials.members, trials.origin)

    @classmethod
    def _make(cls, scores: Floats, members: Bools, origin: str) -> Self:
        # With fair coins, 2 count - m has a standard deviation of sqrt(m).
        count = int(np.count_nonzero(members))
        if abs(2 * count - members.size) > _DEVIATIONS * math.sqrt(members.size):
            raise UserError(
                f"members: {count} of {members.size} are 1, which fair coins do not give",
                allowed="bits drawn by independent fair coins",
                next_step="use the audits of independent trials, if each pair has its own model",
            )
        made = object.__new__(cls)
        made.scores, made.members, made.origin = scores, members, origin
        return made

    def guess(self, guesses: Sequence[Guesses], seed: int) -> list[tuple[float, OneRunGuesses]]:
        """Returns the threshold for members, and how many guesses are right, for each choice.

        Equal scores are ordered at random, because their order in the array may reveal the bits.
        """
        shuffled = rng_for(seed, "audit ties").permutation(self.scores.size)
        order = shuffled[np.argsort(self.scores[shuffled], kind="stable")]
        ranked = self.members[order]
        members_below = np.append(0, np.cumsum(ranked))
        size, members = ranked.size, int(members_below[-1])
        found = []
        for top, bottom in guesses:
            if top < 0 or bottom < 0 or not 0 < top + bottom <= size:
                raise UserError(f"guesses {top} + {bottom}", allowed=f"1 to {size} in all")
            # Right guesses are the members at the top and the non-members at the bottom.
            correct = members - members_below[size - top] + bottom - members_below[bottom]
            threshold = float(self.scores[order[size - top]]) if top else math.inf
            found.append((threshold, OneRunGuesses(size, top + bottom, int(correct))))
        return found


def default_guesses(
    canaries: int, alpha: float, *, proves: Callable[[int, float], bool]
) -> tuple[Guesses, ...]:
    """Returns the numbers of guesses that are tried unless told otherwise: one to seven.

    All canaries; and 1 %, 5 % and 25 % of them, either all from the top or half from each end. They
    share the error probability, so those that prove nothing even if every guess is right are left
    out: very few guesses always, and all but many if delta is not small against 1 / canaries.

    Args:
        canaries: How many there are.
        alpha: Error probability of all of them together.
        proves: Whether so many guesses, all right, would prove something at an error probability.
    """
    everyone = Guesses(canaries - canaries // 2, canaries // 2)
    chosen = {everyone}
    for share in _SHARES:
        count = max(1, round(share * canaries))
        chosen |= {Guesses(count, 0), Guesses(count - count // 2, count // 2)}
    # Each number that is left out raises the share of the others, so the check is repeated.
    kept = sorted(chosen)
    while kept:
        able = [guesses for guesses in kept if proves(sum(guesses), alpha / len(kept))]
        if able == kept:
            return tuple(kept)
        kept = able
    return (everyone,)


def require_run(value: object, *, method: str) -> OneRun:
    """Returns the value if it is a `OneRun`, and otherwise explains what is missing.

    Raises:
        TypeError: The value is something else.
    """
    if isinstance(value, OneRun):
        return value
    raise TypeError(
        f"{method} takes a OneRun, and was given {type(value).__name__}: make one with "
        "OneRun.of_canaries, of_model, pooled or of_trials, which say whose bits were fair coins"
    )
