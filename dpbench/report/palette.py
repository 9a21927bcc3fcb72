"""One look for one defense family, or one kind of them, the same in every figure of a run."""

from collections.abc import Iterable
from typing import NamedTuple

from matplotlib.colors import to_hex, to_rgb

from dpbench.report.groups import GROUPS, group_of, grouped
from dpbench.report.groups import OTHERS as OTHER_GROUP

# Okabe & Ito (2008), which the common kinds of colour blindness can tell apart, with Tol's wine
# (2021) for its second blue: blues are guarantees.
UNDEFENDED = "#111111"
DP_SGD = "#0072B2"
OTHERS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#882255")
MARKERS = ("s", "^", "D", "v", "P", "X", "p")

STAR = "M0,-1L.25,-.35L.95,-.31L.4,.13L.59,.81L0,.43L-.59,.81L-.4,.13L-.95,-.31L-.25,-.35Z"
SHAPES = {
    "*": STAR,
    "o": "circle",
    "s": "square",
    "^": "triangle-up",
    "D": "diamond",
    "v": "triangle-down",
    "P": "cross",
    "X": "M-.7,-1L0,-.3L.7,-1L1,-.7L.3,0L1,.7L.7,1L0,.3L-.7,1L-1,.7L-.3,0L-1,-.7Z",
    "p": "M0,-1L.95,-.31L.59,.81L-.59,.81L-.95,-.31Z",
}
"""The markers as Vega names or draws them."""

GLYPHS = dict(zip("*os^DvPXp", "★●■▲◆▼✚✖⬟", strict=True))
"""The markers as text."""

DARK = "#16181c"
"""The page's background where the reader prefers dark ones."""

THEORY = "#6B4E16"
CANARY = "#B0413E"
ALARM = "#C00000"
QUIET = "#6E6E6E"
FAINT = "#D4D4D4"


class Look(NamedTuple):
    """Colour and marker of a family or a kind: the pair is unique, the colour alone need not be."""

    color: str
    marker: str

    @property
    def ink(self) -> str:
        """The colour, dark enough for text on white."""
        red, green, blue = to_rgb(self.color)
        return to_hex((0.72 * red, 0.72 * green, 0.72 * blue))


def contrast(first: str, second: str) -> float:
    """Returns the contrast ratio of two colours, from 1 to 21 (WCAG 2.2, section 1.4.3)."""
    light, dark = sorted(map(_luminance, (first, second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _luminance(color: str) -> float:
    linear = [
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in to_rgb(color)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def on_dark(color: str) -> str:
    """Returns the colour, mixed with as much white as text on the dark background needs."""
    mixed, share = color, 0.0
    while contrast(mixed, DARK) < 4.5:
        share += 0.05
        red, green, blue = ((1 - share) * value + share for value in to_rgb(color))
        mixed = to_hex((red, green, blue))
    return mixed


def looks(families: Iterable[str]) -> dict[str, Look]:
    """Returns the look of each family, given all families of the run in their fixed order.

    Where there are many, the families of one kind share a look.
    """
    names = list(families)
    if grouped(names):
        return {family: group_look(group_of(family)) for family in names}
    fixed = {"none": Look(UNDEFENDED, "*"), "dp_sgd": Look(DP_SGD, "o")}
    free = (
        Look(OTHERS[index % len(OTHERS)], MARKERS[index % len(MARKERS)]) for index in range(10_000)
    )
    return {family: fixed.get(family) or next(free) for family in names}


def group_look(group: str) -> Look:
    """Returns the look of a kind of defenses."""
    if group == "none":
        return Look(UNDEFENDED, "*")
    # Blue is a guarantee in every figure; the other kinds follow in their fixed order.
    order = [*GROUPS, OTHER_GROUP]
    palette = zip((DP_SGD, *OTHERS), ("o", *MARKERS), strict=False)
    return dict(zip(order, map(Look._make, palette), strict=False))[group]
