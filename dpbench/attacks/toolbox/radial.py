"""Radial features of points and their labels: how close each is to some public points."""

import numpy as np

from dpbench.arrays import Floats, Ints
from dpbench.attacks.base import View

SHARED = 0.5
"""Weight of a centre that has another label: half of what is learned is shared between classes."""


def radial_features(view: View, centers: int) -> tuple[Floats, Floats]:
    """Returns features of the public points `(r, k)` and of the challenge points `(n, k)`.

    Feature j of a point is `exp(-|x - z_j|^2 / h)` for the centre z_j, halved if their labels
    differ; h is the median squared distance between centres.

    Args:
        view: Its generator draws the centres from the public points.
        centers: Number of centres; the public points if there are fewer.
    """
    public = view.reference_inputs.reshape(len(view.reference_inputs), -1)
    challenge = view.inputs.reshape(len(view.inputs), -1)
    count = min(centers, len(public))
    chosen = view.rng.choice(len(public), count, replace=False)
    middle, labels = public[chosen], view.reference_labels[chosen]
    between = _squared_distances(middle, middle)[np.triu_indices(count, 1)]
    width = float(np.median(between)) if between.any() else 1.0
    return (
        _radial(_squared_distances(public, middle), view.reference_labels, labels, width),
        _radial(_squared_distances(challenge, middle), view.labels, labels, width),
    )


def _radial(distances: Floats, labels: Ints, of_centers: Ints, width: float) -> Floats:
    weights = np.where(labels[:, None] == of_centers, 1.0, SHARED)
    return np.exp(-distances.astype(np.float64) / width) * weights


def _squared_distances(one: Floats, other: Floats) -> Floats:
    squares = (one * one).sum(1)[:, None] + (other * other).sum(1) - 2 * (one @ other.T)
    # Rounding may leave small negative squares.
    distances: Floats = np.maximum(squares, 0)
    return distances
