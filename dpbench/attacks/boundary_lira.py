"""Boundary LiRA: a likelihood ratio of each point's distance to the decision boundary."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import Extent, Oracle, View
from dpbench.attacks.correctness import CalibratedLabelAttack
from dpbench.attacks.toolbox.hop_skip_jump import Box, boundary_distances
from dpbench.attacks.toolbox.likelihood_ratio import Variance, likelihood_ratio
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class BoundaryLira(CalibratedLabelAttack):
    """`boundary_distance`, calibrated for each point by the distances to the shadows' boundaries.

    The search of labels finds the distance d to the boundary, negative where the point is
    misclassified and d leads to its label. The statistic is `sign(d) sqrt(|d|)`, and the score its
    Gaussian log-likelihood ratio over leave-one-out shadows, the test of LiRA (Carlini et al. 2022,
    Algorithm 1). Choquette-Choo et al. 2021 have one threshold for all points and a distance of 0
    for misclassified ones, and so need thousands of queries about each pair; compared with shadows
    that are searched alike, a rough distance is enough. It assumes shadows trained like the target,
    and answers that do not change from one time to the next.

    Attributes:
        queries: Queries about each model and point, the clean one included.
        points: How many points are attacked; None takes all. All models are: they are each other's
            shadows.
        variance: `pooled` over examples, separately for IN and OUT, better with fewer than about 64
            shadows; or `per_example`.
    """

    queries: Annotated[int, Field(ge=2)] = 100
    points: Annotated[int, Field(ge=1)] | None = 1000
    variance: Variance = "pooled"

    @property
    def budget(self) -> int:
        """The clean query and the search."""
        return self.queries

    @property
    def extent(self) -> Extent:
        """All models, the first points."""
        return Extent(None, self.points)

    def score(self, view: View) -> Floats:
        """Returns the log-likelihood ratio.

        Raises:
            NotApplicable: There are too few shadows to estimate any variance, or these models
                answer only about whole sets of points.
        """
        # One seed for both: targets and shadows are searched in the same directions, so that the
        # errors of their distances are alike.
        seed = int(view.rng.integers(2**63))
        observed = self._depth(view, view.target, seed)
        shared = view.shadows is view.target
        shadows = observed if shared else self._depth(view, view.shadows, seed)
        return likelihood_ratio(observed, shadows, view.members, variance=self.variance)

    def _depth(self, view: View, oracle: Oracle, seed: int) -> Floats:
        """Returns the signed roots `(M, n)` of the points' distances to the boundary."""
        distances = boundary_distances(
            oracle,
            view.inputs,
            labels=view.labels,
            predicted=oracle.predictions(),
            queries=self.queries - 1,
            box=Box.of(view),
            seed=seed,
            signed=True,
        )
        # Distances spread in proportion to their size; their roots have more equal variances.
        depth: Floats = np.sign(distances) * np.sqrt(np.abs(distances))
        return depth
