"""Long et al.: attack only the points that stand alone."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from dpbench.arrays import Bools, Floats
from dpbench.attacks.base import Access, Attack, View
from dpbench.attacks.toolbox.confidence import SMALLEST, logit
from dpbench.attacks.toolbox.cross_fitting import halves
from dpbench.attacks.toolbox.shadow_quantile import smooth_log_odds
from dpbench.component import register

BLOCK = 512
"""Rows of the distance matrix held at once."""


@register
@dataclass(frozen=True, kw_only=True)
class Long(Attack):
    """A one-sided test on the most isolated points; the others are never called members.

    Long et al. 2020 (GMIA): a point without close neighbours leaves a mark of its own. The
    `share` of points with the largest cosine distance to their nearest neighbour is tested against
    the losses of the shadows trained without the point, with a smoothed tail. Here every shadow
    becomes a logistic density in the logit-scaled confidence, and the score is the log odds of the
    target's rank among them; the paper interpolates with splines. Since every point needs a score,
    one that is not isolated keeps its own only where it speaks against membership: it is at most 0.
    The attack assumes that distances in the feature space say which points are influential.

    Attributes:
        share: Share of points that are tested, and those that tie with the last of them.
        features: `inputs`, or `outputs`: the mean log-scores of the shadows trained without the
            point, of the half of the models that the target is not in. The paper uses a reference
            model's last hidden layer, which no score access shows.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Long, Wang, Bu, Bindschaedler, Wang, Tang, Gunter and Chen, A Pragmatic Approach to "
        "Membership Inferences on Machine Learning Models, EuroS&P 2020"
    )

    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    features: Literal["inputs", "outputs"] = "inputs"

    def score(self, view: View) -> Floats:
        """Returns the smoothed log odds of the target's rank, capped at 0 for crowded points.

        Raises:
            NotApplicable: There is only one model, hence no shadow.
        """
        targets = view.target.scores()
        shadows = targets if view.shadows is view.target else view.shadows.scores()
        observed = logit(targets, view.labels)
        others = observed if shadows is targets else logit(shadows, view.labels)
        evidence = smooth_log_odds(observed, others, view.members)
        if self.features == "inputs":
            isolated = self._isolated(view.inputs.reshape(len(view.labels), -1))
        else:
            isolated = np.empty(view.members.shape, bool)
            for scored, taught_by in halves(len(view.members)):
                isolated[scored] = self._isolated(
                    _mean_log_scores(shadows[taught_by], view.members[taught_by])
                )
        return np.where(isolated, evidence, np.minimum(evidence, 0.0))

    def _isolated(self, features: Floats) -> Bools:
        """Returns `(n,)` whether a point is among the most isolated."""
        # Two points that are each other's nearest neighbours tie. Single precision errs by about
        # 1e-7, and must not decide which of the two is tested.
        distances = _neighbour_distances(features).round(6)
        tested = math.ceil(self.share * len(distances))
        isolated: Bools = distances >= np.sort(distances)[-tested]
        return isolated


def _neighbour_distances(features: Floats) -> Floats:
    """Returns `(n,)` the cosine distance to the nearest other point."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    unit = (features / np.maximum(lengths, SMALLEST)).astype(np.float32)
    nearest = np.empty(len(unit))
    for start in range(0, len(unit), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(unit)))
        similarity = unit[rows] @ unit.T
        similarity[rows - start, rows] = -1.0
        nearest[rows] = similarity.max(1)
    return 1 - nearest


def _mean_log_scores(outputs: Floats, members: Bools) -> Floats:
    """Returns `(n, C)` the mean log-scores of the models trained without the point.

    A point that all of them were trained with takes the average of the other points: the middle of
    the crowd.
    """
    out = (~members).astype(np.float32)
    known = out.any(0)
    total = np.einsum("mn,mnc->nc", out, np.log(outputs + SMALLEST))
    mean: Floats = total / np.maximum(out.sum(0), 1)[:, None]
    if known.any():
        mean[~known] = mean[known].mean(0)
    return mean
