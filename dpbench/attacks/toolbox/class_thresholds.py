"""One threshold per class, folded into the score so that a single threshold applies all of them.

The score of a point is measured from the threshold of its class: `s - tau_y >= 0` exactly where the
class-dependent rule `s >= tau_y` says member. Thresholds are cross-fitted, so that no model's own
bits or scores can reach its own thresholds.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.confidence import of_targets_and_shadows
from dpbench.attacks.toolbox.cross_fitting import halves
from dpbench.metrics.roc import roc
from dpbench.metrics.thresholds import best_threshold

Thresholds = Literal["global", "per_class"]


@dataclass(frozen=True, kw_only=True)
class ThresholdAttack(Attack):
    """Scores every point by one statistic of its released scores.

    Attributes:
        thresholds: `per_class` subtracts the threshold of the point's class, learned on shadows;
            `global` leaves the statistic as it is and queries no shadow.
    """

    access: ClassVar[Access] = Access.SCORE

    thresholds: Thresholds = "global"

    @property
    def needs_shadows(self) -> bool:
        """Only class thresholds are learned from shadows."""
        return self.thresholds == "per_class"

    @abstractmethod
    def statistic(self, outputs: Floats, labels: Ints) -> Floats:
        """Returns the statistic `(M, n)`, larger for members.

        Args:
            outputs: `(M, n, C)` released scores, non-negative.
            labels: `(n,)` true labels.
        """

    def score(self, view: View) -> Floats:
        """Returns the statistic, minus the threshold of the point's class with `per_class`.

        Raises:
            NotApplicable: There are too few shadows to learn class thresholds from.
        """
        if self.thresholds == "global":
            return self.statistic(view.target.scores(), view.labels)
        observed, shadows = of_targets_and_shadows(view, self.statistic)
        return observed - class_thresholds(shadows, view.members, view.labels)


def class_thresholds(scores: Floats, members: Bools, labels: Ints) -> Floats:
    """Returns `(M, n)` the threshold of each point's class, learned on the other half.

    A threshold is the score with the largest TPR - FPR (Song and Mittal 2021); the highest one
    where several tie. It calls every point a member only if all scores are equal. A
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
