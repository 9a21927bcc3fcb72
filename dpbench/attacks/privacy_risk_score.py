"""Privacy risk score: the posterior of membership, from histograms of the modified entropy."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from dpbench.arrays import Bools, Floats, Ints
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.modified_entropy import negative_modified_entropy
from dpbench.attacks.toolbox.confidence import of_targets_and_shadows
from dpbench.attacks.toolbox.cross_fitting import halves
from dpbench.component import register

SMALLEST = 1e-10
"""The smallest entropy: bins are equal in the logarithm (official code)."""


@register
@dataclass(frozen=True, kw_only=True)
class PrivacyRiskScore(Attack):
    """The chance that a point is a member, given its class and modified entropy.

    Song and Mittal 2021: `P(Mentr | in, y) / (P(Mentr | in, y) + P(Mentr | out, y))` at a prior of
    one half, with both densities read from histograms of the shadows, one pair per class, in equal
    bins of log Mentr. Unlike a threshold it needs no monotone relation. It takes at most `bins`
    values per class and half, so its ROC curve is coarse, and says little at low false-positive
    rates.

    Histograms are cross-fitted: each half of the models is scored with those of the other half.

    Attributes:
        bins: Bins of each histogram.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Song and Mittal, Systematic Evaluation of Privacy Risks of Machine Learning Models, "
        "USENIX Security 2021"
    )

    bins: Annotated[int, Field(ge=2)] = 5

    def score(self, view: View) -> Floats:
        """Returns the privacy risk score, between 0 and 1.

        Raises:
            NotApplicable: There are too few shadows to draw the histograms from.
        """
        observed, shadows = (
            np.maximum(-values, SMALLEST)
            for values in of_targets_and_shadows(view, negative_modified_entropy)
        )
        risks = np.empty(observed.shape)
        for scored, taught_by in halves(len(risks)):
            risks[scored] = self._risks(
                observed[scored], shadows[taught_by], view.members[taught_by], view.labels
            )
        return risks

    def _risks(self, observed: Floats, shadows: Floats, members: Bools, labels: Ints) -> Floats:
        """Scores the models of one half with the shadows of the other, class by class."""
        if members.all() or not members.any():
            raise NotApplicable("histograms need shadow models with, and without, some example")
        risks = np.empty(observed.shape)
        for label in np.unique(labels):
            own = labels == label
            bits = members[:, own]
            # A class without members, or without non-members, uses the histograms of all classes.
            known = own if bits.any() and not bits.all() else np.full_like(own, True)
            risks[:, own] = risk(
                observed[:, own], shadows[:, known], members[:, known], bins=self.bins
            )
        return risks


def risk(observed: Floats, shadows: Floats, members: Bools, *, bins: int) -> Floats:
    """Returns the share of the members' density in the bin of each observed value.

    A bin without shadows takes the share of the nearest one that has some, the lower one if two are
    equally near. Values beyond the outermost edges belong to the outermost bins.

    Args:
        observed: Positive values of any shape.
        shadows: Positive values of any shape, from which the histograms are drawn.
        members: Their bits, of the same shape; both kinds must occur.
        bins: Number of bins, equally wide in the logarithm.
    """
    edges = np.geomspace(shadows.min(), shadows.max(), bins + 1)
    place = _bin_of(shadows, edges)
    inside = np.bincount(place[members], minlength=bins) / members.sum()
    outside = np.bincount(place[~members], minlength=bins) / (~members).sum()
    filled = np.flatnonzero(inside + outside)
    distances = np.abs(np.arange(bins)[:, None] - filled)
    nearest = filled[distances.argmin(1)]
    shares: Floats = inside[nearest] / (inside + outside)[nearest]
    return shares[_bin_of(observed, edges)]


def _bin_of(values: Floats, edges: Floats) -> Ints:
    places = np.searchsorted(edges, values, side="right") - 1
    return np.clip(places, 0, len(edges) - 2)
