"""Boundary distance and data augmentation in one: distances from shifted copies."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, Extent, NotApplicable, Oracle, View
from dpbench.attacks.toolbox.hop_skip_jump import Box, boundary_distances
from dpbench.attacks.toolbox.image_copies import diamond, shifted
from dpbench.attacks.toolbox.shadow_classifier import membership_log_odds
from dpbench.component import register


@register
@dataclass(frozen=True, kw_only=True)
class Combined(Attack):
    """A classifier for each class on the boundary distances of an image's shifted copies.

    The combined attack of Choquette-Choo et al. 2021, its strongest: the vector of the L2 distances
    from the image and its copies (`augmentation`'s translations) to the decision boundary
    (`boundary_distance`) goes to a classifier for each class, trained on the shadows of the half of
    the models that the target is not in. The paper trains a small perceptron; here it is a ridge
    logistic regression on whether a copy is recognised and on the logarithm of its distance, since
    a misclassified copy's 0 is not a small distance. The queries are divided evenly over the
    copies.

    Attributes:
        shift: d: the copies are the image and all shifts with |down| + |right| = d.
        queries: Queries about each model and point, for all copies together. The paper spends
            2500 on each copy.
        models, points: How many are attacked; None takes all.
    """

    access: ClassVar[Access] = Access.LABEL
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Choquette-Choo, Tramer, Carlini and Papernot, Label-Only Membership Inference Attacks, "
        "ICML 2021"
    )

    shift: Annotated[int, Field(ge=1)] = 1
    queries: Annotated[int, Field(ge=10)] = 2500
    models: Annotated[int, Field(ge=1)] | None = 4
    points: Annotated[int, Field(ge=1)] | None = 500

    @property
    def budget(self) -> int:
        """The clean queries and the searches."""
        return self.queries

    @property
    def extent(self) -> Extent:
        """The first models and points."""
        return Extent(self.models, self.points)

    def score(self, view: View) -> Floats:
        """Returns the log odds of membership.

        Raises:
            NotApplicable: The inputs are not images, there is only one model, hence no shadow, or
                there are fewer than two queries for each copy.
        """
        if not view.is_image:
            raise NotApplicable("only images can be shifted")
        if len(view.members) < 2:
            raise NotApplicable("there is only one model, hence no shadow")
        each = self.queries // len(diamond(self.shift)) - 1
        if each < 1:
            raise NotApplicable(f"{self.queries} queries are fewer than two for each copy")
        # One seed for all copies, targets and shadows: the features must have comparable errors.
        seed = int(view.rng.integers(2**63))
        observed = self._distances(view.target, view, each, seed)
        shadows = observed
        if view.shadows is not view.target:
            shadows = self._distances(view.shadows, view, each, seed)
        return membership_log_odds(
            observed, shadows, view.members, groups=view.labels, features=_recognised_and_far
        )

    def _distances(self, oracle: Oracle, view: View, queries: int, seed: int) -> Floats:
        """Returns `(M, n, copies)` distances in raw units."""
        distances = []
        for down, right in diamond(self.shift):
            copies = shifted(view.inputs, down, right)
            found = boundary_distances(
                oracle,
                copies,
                labels=view.labels,
                predicted=oracle.predictions(copies),
                queries=queries,
                box=Box.of(view),
                seed=seed,
            )
            distances.append(found)
        return np.stack(distances, axis=-1)


def _recognised_and_far(distances: Floats) -> Floats:
    """Returns features `(N, 2 copies)` of distances `(..., copies)`."""
    # A misclassified copy gets log 1 = 0 for its distance; its indicator has a weight of its own.
    flat = distances.reshape(-1, distances.shape[-1]).astype(np.float64)
    recognised = flat > 0
    return np.concatenate([recognised, np.log(np.where(recognised, flat, 1.0))], axis=1)
