"""Shifted and turned copies of images, as the augmentation attacks of label-only papers query."""

from collections.abc import Sequence

import numpy as np

from dpbench.arrays import Floats


def diamond(distance: int) -> list[tuple[int, int]]:
    """Returns the shifts (down, right) to query: none, then all with |down| + |right| = distance.

    These are 4 distance + 1 (Choquette-Choo et al. 2021).
    """
    around = [
        (down, right)
        for down in range(-distance, distance + 1)
        for right in sorted({abs(down) - distance, distance - abs(down)})
    ]
    return [(0, 0), *around]


def shifted(images: Floats, down: int, right: int) -> Floats:
    """Returns images moved by whole pixels; uncovered pixels repeat the edge.

    Args:
        images: `(n, channels, height, width)`.
        down: How far down; up if negative.
        right: How far to the right.
    """
    height, width = images.shape[-2:]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return np.ascontiguousarray(images[..., rows[:, None], columns])


def turned(images: Floats, degrees: float) -> Floats:
    """Returns images turned around their centre, by bilinear interpolation.

    Pixels from outside the image repeat the nearest edge. This is `scipy.ndimage.rotate` of the
    last two axes with order 1, mode "nearest" and the shape kept, for all images at once.

    Args:
        images: `(n, channels, height, width)`.
        degrees: How far; positive turns the first row's right end up.
    """
    height, width = images.shape[-2:]
    angle = np.deg2rad(degrees)
    down, right = np.mgrid[:height, :width].astype(float)
    down, right = down - (height - 1) / 2, right - (width - 1) / 2
    sources = (
        (np.cos(angle) * down + np.sin(angle) * right + (height - 1) / 2, height),
        (np.cos(angle) * right - np.sin(angle) * down + (width - 1) / 2, width),
    )
    corners: list[Sequence[tuple[np.ndarray, np.ndarray]]] = []
    for source, size in sources:
        # On the far edge `first` is one pixel before it, with a share of 0: `first + 1` must exist.
        inside = np.clip(source, 0, size - 1)
        first = np.minimum(inside.astype(np.int64), max(size - 2, 0))
        part = inside - first
        corners.append([(first, 1 - part), (np.minimum(first + 1, size - 1), part)])
    total = np.zeros_like(images)
    for row, row_weight in corners[0]:
        for column, column_weight in corners[1]:
            total += images[..., row, column] * (row_weight * column_weight).astype(images.dtype)
    return total
