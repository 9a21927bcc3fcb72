"""One look for one defense family, the same in every figure of a run."""

from collections.abc import Iterable
from typing import NamedTuple

from matplotlib.colors import to_hex, to_rgb

# Okabe & Ito (2008), which the common kinds of colour blindness can tell apart, with Tol's wine
# (2021) for its second blue: blues are guarantees.
UNDEFENDED = "#111111"
DP_SGD = "#0072B2"
OTHERS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#882255")
MARKERS = ("s", "^", "D", "v", "P", "X", "p")

THEORY = "#6B4E16"
CANARY = "#B0413E"
ALARM = "#C00000"
QUIET = "#6E6E6E"
FAINT = "#D4D4D4"


class Look(NamedTuple):
    """Colour and marker of a family: the pair is unique, the colour alone need not be."""

    color: str
    marker: str

    @property
    def ink(self) -> str:
        """The colour, dark enough for text on white."""
        red, green, blue = to_rgb(self.color)
        return to_hex((0.72 * red, 0.72 * green, 0.72 * blue))


def looks(families: Iterable[str]) -> dict[str, Look]:
    """Returns the look of each family, given all families of the run in their fixed order."""
    fixed = {"none": Look(UNDEFENDED, "*"), "dp_sgd": Look(DP_SGD, "o")}
    free = (
        Look(OTHERS[index % len(OTHERS)], MARKERS[index % len(MARKERS)]) for index in range(10_000)
    )
    return {family: fixed.get(family) or next(free) for family in families}
