"""Which data sets count as neighbours, and in which direction they are told apart.

Add/remove: one data set has one example more. This is the relation of a game in which each example
is a member or not, independently of the others. Replace-one: one example is exchanged for another.
This is the relation of a game with a fixed number of members, where another example takes the place
of one that is not a member.
"""

from typing import Literal, get_args

from dpbench.errors import UserError

Adjacency = Literal["add_remove", "replace_one"]
Direction = Literal["both", "add", "remove"]


def require_adjacency(adjacency: str) -> None:
    """Checks the name of an adjacency relation.

    Raises:
        UserError: The word is unknown.
    """
    if adjacency not in get_args(Adjacency):
        raise UserError(
            f"adjacency: '{adjacency}' is unknown", allowed=", ".join(get_args(Adjacency))
        )


def require_direction(direction: str) -> None:
    """Checks the name of a direction.

    Raises:
        UserError: The word is unknown.
    """
    if direction not in get_args(Direction):
        raise UserError(
            f"direction: '{direction}' is unknown", allowed=", ".join(get_args(Direction))
        )


def replace_one_mu(mu: float) -> float:
    """Returns the mu under replace-one that mu-GDP under add/remove implies. Dong et al. 2022."""
    return 2 * mu
