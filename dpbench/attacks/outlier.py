"""Outliers: a label-only attack on the points that stand alone in the shadows' features."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dpbench.arrays import Bools, Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.noise_robustness import NoiseRobustness
from dpbench.attacks.toolbox.confidence import SMALLEST
from dpbench.attacks.toolbox.cross_fitting import halves
from dpbench.component import register

BLOCK = 512
"""Rows of the distance matrix held at once."""


@register
@dataclass(frozen=True, kw_only=True)
class Outlier(Attack):
    """Noise robustness of the most isolated points; the others are never called members.

    The worst-case attack of Choquette-Choo et al. 2021: an outlier has fewer than `neighbours`
    points within a cosine distance, here in the last affine layer's inputs of the adversary's own
    models. That distance follows from the `share` of points that are to be outliers: they are
    those that are farthest from their `neighbours`-th neighbour. The target is asked for labels
    alone. A point that is not an outlier scores 0, as a misclassified point does. It assumes that
    training marks isolated points most, and that the same points are isolated for all models.

    Attributes:
        share: Share of points that are outliers, and those that tie with the last of them.
        neighbours: A point with fewer is an outlier.
        sources: Shadow models whose features are used, of the half of the models that the target is
            not in; cosines are averaged over them. The paper uses one model.
        copies, scale, flip_probability: As in `noise_robustness`.
    """

    access: ClassVar[Access] = Access.LABEL
    shadow_access: ClassVar[Access | None] = Access.WHITE_BOX
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Choquette-Choo, Tramer, Carlini and Papernot, Label-Only Membership Inference Attacks, "
        "ICML 2021"
    )

    share: Annotated[float, Field(gt=0, le=1)] = 0.01
    neighbours: Annotated[int, Field(ge=1)] = 5
    sources: Annotated[int, Field(ge=1)] = 4
    copies: Annotated[int, Field(ge=1)] = 16
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    flip_probability: Annotated[float, Field(gt=0, lt=1)] | None = None

    @property
    def budget(self) -> int:
        """The clean point and its copies."""
        return self._base.budget

    @property
    def _base(self) -> NoiseRobustness:
        return NoiseRobustness(
            copies=self.copies, scale=self.scale, flip_probability=self.flip_probability
        )

    def score(self, view: View) -> Floats:
        """Returns the share of noisy copies classified as the true label; 0 for crowded points.

        Raises:
            NotApplicable: There is only one model, hence no shadow, or the shadows have no weights
                to see or do not end in an affine layer.
        """
        if len(view.members) < 2:
            raise NotApplicable("there is only one model, hence no shadow")
        features = view.shadows.features()
        outliers = np.empty(view.members.shape, bool)
        for scored, taught_by in halves(len(features)):
            outliers[scored] = self._outliers(features[taught_by[: self.sources]])
        return np.where(outliers, self._base.score(view), 0.0)

    def _outliers(self, features: Floats) -> Bools:
        """Returns `(n,)` which points are outliers to models with features `(k, n, h)`."""
        # Two points that are each other's neighbours tie. Single precision errs by about 1e-7, and
        # must not decide which of the two is tested.
        distances = _neighbour_distances(features, self.neighbours).round(6)
        chosen = math.ceil(self.share * len(distances))
        outliers: Bools = distances >= np.sort(distances)[-chosen]
        return outliers


def _neighbour_distances(features: Floats, neighbours: int) -> Floats:
    """Returns `(n,)` the cosine distance to the nearest, second nearest, ... other point.

    A population of fewer points takes the farthest.
    """
    lengths = np.linalg.norm(features, axis=2, keepdims=True)
    # Scaled so that the product of two joined rows is the mean of the models' cosines.
    unit = features / np.maximum(lengths, SMALLEST) / math.sqrt(len(features))
    rows = np.concatenate(list(unit), axis=1).astype(np.float32)
    place = min(neighbours, len(rows) - 1)
    if place < 1:
        return np.zeros(len(rows))
    distances = np.empty(len(rows))
    for start in range(0, len(rows), BLOCK):
        part = np.arange(start, min(start + BLOCK, len(rows)))
        apart = 1 - rows[part] @ rows.T
        apart[part - start, part] = np.inf
        distances[part] = np.partition(apart, place - 1, axis=1)[:, place - 1]
    return distances
