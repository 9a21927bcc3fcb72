"""Where a defense's strengths are searched for: what `dpbench tune` tries."""

import math
from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Search:
    """An interval of one field's values.

    Attributes:
        low: Smallest value.
        high: Largest value.
        scale: `log` or `linear`; `integer` is linear and rounded.
    """

    low: float
    high: float
    scale: Literal["log", "linear", "integer"] = "log"

    def at(self, share: float) -> Any:
        """Returns the value at a share of the interval in [0, 1), to three digits."""
        if self.scale == "integer":
            return int(self.low + share * (self.high - self.low + 1))
        if self.scale == "linear":
            value = self.low + share * (self.high - self.low)
        else:
            value = math.exp(math.log(self.low) + share * math.log(self.high / self.low))
        return float(f"{value:.3g}")


@dataclass(frozen=True)
class Choice:
    """A few values of one field.

    Attributes:
        values: All of them.
    """

    values: tuple[Any, ...]

    def at(self, share: float) -> Any:
        """Returns the value at a share of the list in [0, 1)."""
        return self.values[int(share * len(self.values))]
