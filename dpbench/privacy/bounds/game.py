"""Membership-inference games: which training sets an attacker must distinguish.

A bound is a statement about one game. Games differ in which training sets are compared, and a
guarantee says something about them only if it is stated under the matching adjacency.
"""

from dataclasses import dataclass
from typing import NamedTuple

from dpbench.errors import UserError, suggest
from dpbench.privacy.accounting.adjacency import Adjacency
from dpbench.privacy.accounting.ranges import in_range


class ComparedSets(NamedTuple):
    """Which training sets a game compares, and the adjacency that relates them, if any does."""

    sets: str
    adjacency: Adjacency | None


GAMES: dict[str, ComparedSets] = {
    "bernoulli": ComparedSets(
        "each example of a pool is a member or not, independently of the others", "add_remove"
    ),
    "canary": ComparedSets(
        "each canary is a member or not, independently; all other examples are members",
        "add_remove",
    ),
    "fixed_size": ComparedSets(
        "a uniformly random subset of the pool, of a size fixed beforehand", "replace_one"
    ),
    # A fresh draw in the place of the challenged member gives the same distribution of sets.
    "yeom": ComparedSets(
        "independent draws from one distribution; the challenge is a member or a fresh draw",
        "replace_one",
    ),
    # Here an attack may distinguish the two kinds without looking at the model.
    "shifted": ComparedSets("members and non-members come from different sources", None),
}


@dataclass(frozen=True, kw_only=True)
class Game:
    """A membership-inference game.

    Attributes:
        kind: `bernoulli` (this benchmark's), `canary`, `fixed_size`, `yeom` or `shifted`.
        prior: Probability that the challenged example is a member.
        copies: How often the challenged example is in the data of a member. With more than one,
            group privacy applies.
    """

    kind: str = "bernoulli"
    prior: float = 0.5
    copies: int = 1

    def __post_init__(self) -> None:
        """Validates the fields.

        Raises:
            UserError: The kind is unknown, the prior is not between 0 and 1, or there is no copy.
        """
        if self.kind not in GAMES:
            raise UserError(
                f"game: unknown kind '{self.kind}'",
                allowed=", ".join(GAMES),
                next_step=suggest(self.kind, GAMES),
            )
        in_range("prior", self.prior)
        if self.copies < 1:
            raise UserError(f"copies: {self.copies} is not possible", allowed="1 or more")

    @property
    def adjacency(self) -> Adjacency | None:
        """The adjacency under which a guarantee bounds this game, or None."""
        return GAMES[self.kind].adjacency

    @property
    def odds(self) -> float:
        """Non-members per member."""
        return (1 - self.prior) / self.prior
