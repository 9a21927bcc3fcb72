"""No defense: the reference every other cell is compared with."""

from dataclasses import dataclass
from typing import ClassVar

from dpbench.component import register
from dpbench.defenses.base import Defense


@register
@dataclass(frozen=True, kw_only=True)
class Undefended(Defense):
    """Trains by the recipe and releases full confidence scores."""

    name: ClassVar[str] = "none"
    reference: ClassVar[str] = "baseline"
