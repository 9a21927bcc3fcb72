"""Contract checks and planted signals, for the authors of defenses and attacks."""

import importlib
from typing import TYPE_CHECKING, Any

from dpbench.testing.attack_checks import check_attack as check_attack
from dpbench.testing.planted import Planted as Planted
from dpbench.testing.planted import plant as plant
from dpbench.testing.planted import planted_view as planted_view
from dpbench.testing.ranking import auc as auc
from dpbench.testing.ranking import standard_error as standard_error

if TYPE_CHECKING:
    from dpbench.testing.broken_dp_sgd import BrokenDpSgd as BrokenDpSgd
    from dpbench.testing.defense_checks import check_defense as check_defense
    from dpbench.testing.gradient_canary import MechanismAudit as MechanismAudit
    from dpbench.testing.gradient_canary import audit_mechanism as audit_mechanism

# Defenses need torch, attacks do not: these are imported on first use.
_LAZY = {
    "BrokenDpSgd": "broken_dp_sgd",
    "MechanismAudit": "gradient_canary",
    "audit_mechanism": "gradient_canary",
    "check_defense": "defense_checks",
}

__all__ = [
    "BrokenDpSgd",
    "MechanismAudit",
    "Planted",
    "auc",
    "audit_mechanism",
    "check_attack",
    "check_defense",
    "plant",
    "planted_view",
    "standard_error",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'dpbench.testing' has no attribute '{name}'")
    return getattr(importlib.import_module(f"dpbench.testing.{_LAZY[name]}"), name)
