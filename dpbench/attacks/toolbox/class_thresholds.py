"""One threshold per class, folded into the score so that a single threshold applies all of them.

The score of a point is measured from the threshold of its class: `s - tau_y >= 0` exactly where the
class-dependent rule `s >= tau_y` says member. Thresholds are cross-fitted, so that no model's own
bits or scores can reach its own thresholds.
"""

from typing import Literal

import numpy as np

from dpbench.attacks.base import Bools, Floats, Ints, NotApplicable, View
from dpbench.attacks.toolbox.confidence import Statistic, of_targets_and_shadows
from dpbench.attacks.toolbox.cross_fitting import halves
from dpbench.metrics.roc import roc
from dpbench.metrics.thresholds import best_threshold

Thresholds = Literal["global", "per_class"]


def thresholded(view: View, statistic: Statistic, thresholds: Thresholds) -> Floats:
    """Returns a statistic of the targets `(M, n)`, measured from its class thresholds if asked.

    Args:
        view: What the adversary sees.
        statistic: Of released scores and true labels; larger for members.
        thresholds: `global` leaves the statistic as it is and asks no shadow.

    Raises:
        NotApplicable: There are too few shadows to learn a threshold from.
    """
    if thresholds == "global":
        return statistic(view.target.scores(), view.labels)
    observed, shadows = of_targets_and_shadows(view, statistic)
    return observed - class_thresholds(shadows, view.members, view.labels)


def class_thresholds(scores: Floats, members: Bools, labels: Ints) -> Floats:
    """Returns `(M, n)` the threshold of each point's class, learned on the other half.

    A threshold is the score with the largest TPR - FPR (Song and Mittal 2021); the highest one
    where several tie, and one that calls everybody a member only where all scores are equal. A
    class without members, or without non-members, takes the threshold of all classes together.

    Args:
        scores: `(M, n)` the shadows' scores.
        members: `(M, n)` their bits.
        labels: `(n,)` true labels.

    Raises:
        NotApplicable: The models of some half have no members, or no non-members.
    """
    thresholds = np.empty(scores.shape)
    for scored, taught_by in halves(len(scores)):
        thresholds[scored] = _learned(scores[taught_by], members[taught_by], labels)
    return thresholds


def _learned(scores: Floats, members: Bools, labels: Ints) -> Floats:
    """Returns `(n,)` the threshold of each point's class."""
    if not _has_both(members):
        raise NotApplicable("class thresholds need shadow models with, and without, some example")
    thresholds = np.full(len(labels), best_threshold(roc(scores, members)))
    for label in np.unique(labels):
        own = labels == label
        if _has_both(members[:, own]):
            thresholds[own] = best_threshold(roc(scores[:, own], members[:, own]))
    return thresholds


def _has_both(members: Bools) -> bool:
    return bool(members.any() and not members.all())
