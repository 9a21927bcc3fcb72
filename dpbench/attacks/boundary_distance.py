"""Boundary distance: members lie farther from the decision boundary."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, Extent, View
from dpbench.attacks.toolbox.hop_skip_jump import Box, boundary_distances
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class BoundaryDistance(Attack):
    """The L2 distance to the decision boundary; 0 if the point is misclassified.

    The boundary attack of Choquette-Choo et al. 2021: training pushes decision boundaries away from
    members, and a search that sees labels alone measures how far (`hop_skip_jump`). One threshold
    serves all points: it assumes that distances of members and of others differ more than points
    differ in difficulty. Distances are in raw units. Thousands of queries about every pair are
    affordable only on part of a cell: the first `models` models and `points` challenge points.

    Attributes:
        queries: Queries about each model and point, the clean one included. The paper finds 2500
            enough to match attacks on confidences.
        models, points: How many are attacked; None takes all.
    """

    access: ClassVar[Access] = Access.LABEL
    reference: ClassVar[str] = (
        "Choquette-Choo, Tramer, Carlini and Papernot, Label-Only Membership Inference Attacks, "
        "ICML 2021"
    )

    queries: Annotated[int, Field(ge=2)] = 2500
    models: Annotated[int, Field(ge=1)] | None = 4
    points: Annotated[int, Field(ge=1)] | None = 500

    @property
    def budget(self) -> int:
        """The clean query and the search."""
        return self.queries

    @property
    def extent(self) -> Extent:
        """The first models and points."""
        return Extent(self.models, self.points)

    def score(self, view: View) -> Floats:
        """Returns the distances in raw units.

        Raises:
            NotApplicable: These models answer only about whole sets of points.
        """
        return boundary_distances(
            view.target,
            view.inputs,
            labels=view.labels,
            predicted=view.target.predictions(),
            queries=self.queries - 1,
            box=Box.of(view),
            seed=int(view.rng.integers(2**63)),
        )
