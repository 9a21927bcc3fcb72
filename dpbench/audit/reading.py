"""How a file's scores and bits are to be read."""

from typing import Literal

Bits = Literal["one-run", "independent-models"]
"""For scores `(k,)`: the pairs are of one model, or each has its own."""

Shadows = Literal["leave-one-out", "none"]
"""For scores `(M, n)`: whether a model's scores were made with the bits of other models."""
