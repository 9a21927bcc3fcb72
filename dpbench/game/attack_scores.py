"""What an attack found on a cell, and the numbers that follow from it."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.arrays import Floats
from dpbench.game.membership_game import MembershipGame
from dpbench.metrics import evaluate
from dpbench.metrics.strength import strengths
from dpbench.seeds import rng_for

# Which models select the strongest attack and which report it (metrics fold m % 2).
SELECT, REPORT = 0, 1


class AttackScores(NamedTuple):
    """An attack's scores, `(m, k)` each, of the first models and points of a cell.

    The last two use the shadows of each model's own fold (even or odd) alone, so that what one fold
    teaches depends on no bit of the other.

    Attributes:
        scores: Of the targets, with all other models as shadows.
        selection: Of the targets: attacks compete by them on the models that select.
        source: Of the models that the adversary knows, where thresholds are chosen.
        uses_other_bits: A score uses other bits: those of the shadows, or of other points.
        notes: What a reader must know of these scores.
    """

    scores: Floats
    selection: Floats
    source: Floats
    uses_other_bits: bool
    notes: tuple[str, ...] = ()


def evaluation(
    game: MembershipGame,
    found: AttackScores,
    *,
    delta: float,
    models: NDArray[np.int64] | None = None,
) -> dict[str, Any]:
    """Returns the numbers of a row, on some models or on all, and how much of the cell has scores.

    Args:
        game: Whose bits they are.
        found: The scores.
        delta: Delta of the cell's claim.
        models: Numbers of the models to report.
    """
    members = game.bits_of(found.scores)
    result = evaluate(
        found.scores,
        members,
        source_scores=found.source,
        source_members=members,
        delta=delta,
        uses_other_bits=found.uses_other_bits,
        rng=rng_for(game.seed, "bootstrap"),
        models=models,
    )
    return {
        **result.row(),
        "evidence": result.evidence.to_json(),
        "extent": list(found.scores.shape),
        "notes": [*found.notes, *result.notes],
    }


def selection_strengths(
    game: MembershipGame, found: AttackScores, *, delta: float
) -> dict[str, float]:
    """Returns how strong an attack is, by metric, on the models that select."""
    some = np.s_[SELECT::2]
    same = found.source is found.selection
    return strengths(
        found.selection[some],
        game.bits_of(found.selection)[some],
        source=None if same else found.source[some],
        delta=delta,
        uses_other_bits=found.uses_other_bits,
    )
