"""Labels beside points that do not cover each other: try spots around the point, take the best."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke
from matplotlib.text import Annotation

from dpbench.report.canvas import settle
from dpbench.report.results import Floats

# Directions from the point in degrees, in the order of preference, at each distance in points.
DIRECTIONS = (0, 180, 315, 225, 45, 135, 270, 90)
DISTANCES = (6.0, 11.0, 17.0)


class Label(NamedTuple):
    """A text that belongs to a point.

    Attributes:
        x: The point, in data units.
        y: The point, in data units.
        text: What to write.
        color: Its colour.
        required: Write it even where it must cover something; otherwise leave it out.
        weight: Font weight.
        names: The text names a cell, rather than a strength.
    """

    x: float
    y: float
    text: str
    color: str
    required: bool = True
    weight: str = "normal"
    names: bool = True


def place_labels(
    axes: Axes, labels: Sequence[Label], *, around: Floats, size: float = 8.0
) -> list[Annotation]:
    """Writes the labels, earlier ones first, and freezes the figure's layout.

    Args:
        axes: Where; limits and scales must be final.
        labels: In the order of importance.
        around: `(n, 2)` points in data units that no label should cover.
        size: Font size in points.

    Returns:
        The labels that found a place.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    settle(figure)
    reach = 3.0 * figure.dpi / 72
    centers = axes.transData.transform(around)
    taken = np.concatenate([centers - reach, centers + reach], axis=1)
    written = []
    for label in labels:
        text = axes.annotate(
            label.text,
            (label.x, label.y),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=size,
            color=label.color,
            fontweight=label.weight,
            annotation_clip=False,
            zorder=6,
            linespacing=1.05,
            path_effects=[withStroke(linewidth=2.2, foreground="white")],
        )
        box, covered = _best_spot(axes, text, taken)
        if covered > 0 and not label.required:
            text.remove()
            continue
        taken = np.concatenate([taken, box[None]])
        written.append(text)
    return written


def _best_spot(axes: Axes, text: Annotation, taken: Floats) -> tuple[Floats, float]:
    """Moves the text to the first spot that covers least; returns its box and the area covered."""
    extent = text.get_window_extent()
    size = np.array([extent.width, extent.height])
    unit = axes.figure.dpi / 72
    at = axes.transData.transform(text.xy)
    angles = np.radians(DIRECTIONS)
    # Rounded, so that the choice does not hang on the last bit of a cosine.
    directions = np.column_stack([np.cos(angles), np.sin(angles)]).round(3)
    offsets = np.concatenate([distance * directions for distance in DISTANCES]) * unit
    low = at + offsets - size * np.select([offsets > 0.1, offsets < -0.1], [0.0, 1.0], 0.5)
    boxes = np.concatenate([low, low + size], axis=1)
    inside = np.asarray(axes.bbox.extents)[None]
    covered = _shared(boxes, taken).sum(1) + size.prod() - _shared(boxes, inside).sum(1)
    best = int(covered.round(2).argmin())
    text.set_position(tuple((low[best] - at) / unit))
    return boxes[best], float(covered[best].round(2))


def _shared(boxes: Floats, others: Floats) -> Floats:
    """Returns `(b, o)` areas shared by two lists of boxes `(x0, y0, x1, y1)`."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared: Floats = np.maximum(high - low, 0).prod(-1)
    return shared
