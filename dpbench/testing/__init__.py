"""Contract checks and planted signals, for the authors of defenses and attacks."""

from typing import TYPE_CHECKING, Any

from dpbench.testing.attack_checks import check_attack as check_attack
from dpbench.testing.planted import Planted as Planted
from dpbench.testing.planted import plant as plant
from dpbench.testing.planted import planted_view as planted_view
from dpbench.testing.ranking import auc as auc
from dpbench.testing.ranking import standard_error as standard_error

if TYPE_CHECKING:
    from dpbench.testing.defense_checks import check_defense as check_defense

__all__ = [
    "Planted",
    "auc",
    "check_attack",
    "check_defense",
    "plant",
    "planted_view",
    "standard_error",
]


def __getattr__(name: str) -> Any:
    # Defenses need torch, attacks do not: it is imported on first use.
    if name != "check_defense":
        raise AttributeError(f"module 'dpbench.testing' has no attribute '{name}'")
    from dpbench.testing.defense_checks import check_defense

    return check_defense
