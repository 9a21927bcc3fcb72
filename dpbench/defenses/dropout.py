"""Dropout."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

from pydantic import Field

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
from dpbench.errors import UserError
from dpbench.models.base import Architecture


@register
@dataclass(frozen=True, kw_only=True)
class Dropout(Defense):
    """Zeroes hidden units at random while training; nothing is random when the model answers.

    Attributes:
        rate: Probability of zeroing a hidden unit.
    """

    reference: ClassVar[str] = "Srivastava et al. 2014; Salem et al. 2019, ML-Leaks, section VI-A"
    search: ClassVar = {"rate": Search(0.1, 0.9, "linear")}

    rate: Annotated[float, Field(ge=0, lt=1)] = 0.5

    def remodel(self, architecture: Architecture) -> Architecture:
        """Sets the network's dropout.

        Raises:
            UserError: The network has none.
        """
        if not hasattr(architecture, "dropout"):
            raise UserError(
                f"dropout: the model '{architecture.name}' has no dropout",
                allowed="a model with a field dropout: mlp, cnn",
            )
        network: Any = architecture
        changed: Architecture = replace(network, dropout=self.rate)
        return changed
