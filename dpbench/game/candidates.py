"""Which attacks on a cell may be compared with each other."""

from collections.abc import Callable, Sequence

from dpbench.attacks import Access, Attack
from dpbench.defenses import Composition
from dpbench.game.evaluate import EvaluateJob


def comparable(evaluated: dict[Attack, EvaluateJob], defense: Composition) -> Sequence[EvaluateJob]:
    """Returns what the best attack is chosen from, and the ensemble made of.

    A mask is not meant against an adversary who holds the weights, and nobody but an auditor knows
    the other members. Such attacks have their rows, but compete only where the grid has no others.
    """
    rules: tuple[Callable[[Attack], bool], ...] = (
        lambda attack: not defense.masks or attack.access != Access.WHITE_BOX,
        lambda attack: not attack.knows_other_bits,
    )
    kept = list(evaluated)
    for rule in rules:
        kept = [attack for attack in kept if rule(attack)] or kept
    return [evaluated[attack] for attack in kept]
