"""Evaluates a named bound for a guarantee in a game, and refuses it where it does not hold."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dpbench.arrays import Floats
from dpbench.errors import UserError
from dpbench.privacy.accounting.adjacency import Adjacency
from dpbench.privacy.accounting.ranges import in_range
from dpbench.privacy.bounds.catalogue import Bound, find_bound
from dpbench.privacy.bounds.game import Game
from dpbench.privacy.bounds.guarantee import Guarantee


class Refusal(NamedTuple):
    """Why a bound does not hold, and what to do instead."""

    reason: str
    instead: str


def limit(name: str, guarantee: Guarantee, game: Game, *, fpr: ArrayLike | None = None) -> Floats:
    """Returns the value of a bound, if it is one for this guarantee in this game.

    Args:
        name: Name of the bound, see `dpbench.privacy.bounds.catalogue.BOUNDS`.
        guarantee: Of the attacked mechanism, for data sets that differ in one record.
        game: The game of the attack; with several copies, group privacy applies.
        fpr: False positive rates, for the quantities that depend on them.

    Returns:
        The bound, a scalar or as many values as `fpr` has.

    Raises:
        UserError: The bound is unknown or does not hold, or the FPR is missing or superfluous.
    """
    bound = find_bound(name)
    refused = refusal(bound, guarantee, game)
    if refused is not None:
        raise UserError(
            f"{bound.number} {name} is no bound in the game '{game.kind}': {refused.reason}",
            next_step=refused.instead,
        )
    if ("fpr" in bound.arguments) is (fpr is None):
        raise UserError(
            f"fpr: {'missing' if fpr is None else 'superfluous'}, "
            f"{bound.number} {name} bounds the {bound.quantity}"
        )
    promise = guarantee.group(game.copies)
    known = {
        "epsilon": promise.epsilon,
        "delta": promise.delta,
        "mu": promise.mu,
        "curve": promise.curve,
        "prior": game.prior,
        "odds": game.odds,
        "fpr": None if fpr is None else in_range("fpr", fpr),
    }
    value = bound.function(**{argument: known[argument] for argument in bound.arguments})
    return np.asarray(value, dtype=np.float64)


def refusal(bound: Bound, guarantee: Guarantee, game: Game) -> Refusal | None:
    """Returns why a bound does not hold for a guarantee in a game, or None if it does."""
    mismatch = game_refusal(game, guarantee.adjacency)
    if mismatch is not None:
        return mismatch
    if bound.premise == "pure epsilon" and guarantee.delta > 0:
        reason = f"it is false for delta > 0, and delta is {guarantee.delta:g}"
    elif bound.premise == "exact mu" and guarantee.mu is None:
        reason = "it needs the exact mu of full batches; a central-limit mu can be too small"
    elif bound.premise == "trade-off curve" and guarantee.curve is None:
        reason = "it needs the mechanism itself, not one (epsilon, delta) of it"
    elif bound.even_prior and game.prior != 0.5:
        reason = f"it is stated for a prior of 1/2, and the prior is {game.prior:g}"
    else:
        return None
    # The bound to use instead may be refused as well. The chain ends: its last bound needs nothing
    # but epsilon and delta, at any prior.
    other = find_bound(bound.instead)
    further = refusal(other, guarantee, game)
    return Refusal(reason, further.instead if further else f"use {other.number} {other.name}")


def game_refusal(game: Game, adjacency: Adjacency) -> Refusal | None:
    """Returns why no guarantee under an adjacency bounds a game, or None if it does."""
    if game.adjacency == adjacency:
        return None
    if game.adjacency is None:
        return Refusal(
            "members and non-members come from different sources, so an attack may tell them "
            "apart without the model",
            "draw both from one pool by independent coins, the game 'bernoulli'",
        )
    if game.adjacency == "replace_one":
        return Refusal(
            "it compares sets that differ in one replaced record, and the guarantee is for one "
            "record added or removed",
            "convert it by Guarantee.replace_one(), on the command line --convert: "
            "(2 epsilon, (1 + e^epsilon) delta) and 2 mu",
        )
    return Refusal(
        "it compares a set with and without a record, and the guarantee is for one record "
        "replaced, which may reveal how many records there are",
        "account for the mechanism under add/remove adjacency; there is no conversion",
    )
