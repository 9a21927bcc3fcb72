"""dpbench: which privacy defense is worth the accuracy it costs?"""

import importlib
from typing import TYPE_CHECKING, Any

from dpbench.component import register as register
from dpbench.errors import UserError as UserError

if TYPE_CHECKING:
    from dpbench import privacy as privacy
    from dpbench import testing as testing
    from dpbench.attacks import Attack as Attack
    from dpbench.defenses import Defense as Defense
    from dpbench.study.run import Run as Run
    from dpbench.study.run import load as load

__version__ = "0.1.0"

# Resolved on first use, so that `import dpbench` costs no torch import.
_LAZY = {
    "Attack": "dpbench.attacks",
    "Defense": "dpbench.defenses",
    "Run": "dpbench.study.run",
    "load": "dpbench.study.run",
    "privacy": "dpbench.privacy",
    "testing": "dpbench.testing",
}

__all__ = ["Attack", "Defense", "Run", "UserError", "load", "privacy", "register", "testing"]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'dpbench' has no attribute '{name}'")
    module = importlib.import_module(_LAZY[name])
    return module if _LAZY[name] == f"dpbench.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
