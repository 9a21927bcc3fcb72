"""LiRA: a likelihood ratio for each point, from shadow models."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from dpbench.attacks.augmented import augmented
from dpbench.attacks.base import Access, Attack, Bools, Floats, NotApplicable, View
from dpbench.attacks.confidence import logit, of_targets_and_shadows
from dpbench.attacks.leave_one_out import Moments, leave_one_out, means
from dpbench.component import register

SMALLEST_SHARE = 0.01
"""No deviation is taken to be below this share of the pooled one: masked releases (labels, rounded
scores) often agree exactly in all shadows of an example."""
SMALLEST_DEVIATION = 1e-6


@register
@dataclass(frozen=True, kw_only=True)
class Lira(Attack):
    """Likelihood ratio of the logit-scaled confidence phi (Carlini et al. 2022, Algorithm 1).

    Online: `log N(phi; mu_in, sd_in) - log N(phi; mu_out, sd_out)`. Offline:
    `(phi - mu_out) / sd_out`, which orders points as the paper's one-sided
    `1 - Pr[N(mu_out, sd_out) > phi]` does, without saturating at 1. Several queries are added up,
    as if independent. Means and variances are leave-one-out, unbiased, and within examples; the
    official code's medians, its spread between examples in the fixed variance and its two-sided
    offline score are not reproduced. It assumes that phi is close to Gaussian over shadows trained
    like the target.

    Attributes:
        mode: `online` uses shadows trained with and without the point, `offline` only without.
        variance: `per_example`, better with hundreds of shadows; `pooled` over examples, separately
            for IN and OUT, better with fewer than about 64.
        queries: Views of each image to query: itself, its mirror image, then both shifted by one
            pixel, two, ...; 1, 2, 18 and 162 are the paper's.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Carlini, Chien, Nasr, Song, Terzis and Tramer, Membership Inference Attacks From First "
        "Principles, IEEE S&P 2022"
    )

    mode: Literal["online", "offline"] = "online"
    variance: Literal["per_example", "pooled"] = "pooled"
    queries: Annotated[int, Field(ge=1, le=162)] = 1

    @property
    def budget(self) -> int:
        """Queries made per target model and example."""
        return self.queries

    def score(self, view: View) -> Floats:
        """Returns the log-likelihood ratio (online) or the one-sided z-score (offline).

        Raises:
            NotApplicable: There are too few shadows to estimate any variance, or several queries
                are asked for and the inputs are not images.
        """
        if self.queries > 1 and not view.is_image:
            raise NotApplicable("LiRA with several queries needs images to shift and mirror")
        total = np.zeros(view.members.shape)
        evidence = self._online if self.mode == "online" else self._offline
        for inputs in augmented(view.inputs, self.queries):
            observed, shadows = of_targets_and_shadows(view, logit, inputs)
            total += evidence(observed, shadows, view.members)
        return total

    def _online(self, observed: Floats, shadows: Floats, members: Bools) -> Floats:
        inside, outside = leave_one_out(shadows, members), leave_one_out(shadows, ~members)
        # One floor for both sides: an example that never varies carries no evidence.
        floor = _floor(inside, outside)
        mean_in, mean_out = means(inside, outside)
        sd_in, sd_out = self._deviation(inside, floor), self._deviation(outside, floor)
        z_in, z_out = (observed - mean_in) / sd_in, (observed - mean_out) / sd_out
        return (z_out * z_out - z_in * z_in) / 2 + np.log(sd_out / sd_in)

    def _offline(self, observed: Floats, shadows: Floats, members: Bools) -> Floats:
        outside = leave_one_out(shadows, ~members)
        deviation = self._deviation(outside, _floor(outside))
        # An example without OUT shadows borrows the mean of all, not the IN side it must not see.
        overall = outside.mean.sum(1, keepdims=True) / (outside.models > 0).sum(1, keepdims=True)
        mean = np.where(outside.models > 0, outside.mean, overall)
        return (observed - mean) / deviation

    def _deviation(self, side: Moments, floor: Floats) -> Floats:
        """Returns the standard deviation, `(M, n)` or `(M, 1)`."""
        variance = side.pooled_variance()
        if self.variance == "per_example":
            variance = np.where(side.models >= 2, side.variance(), variance)
        return np.maximum(np.sqrt(variance), floor)


def _floor(*sides: Moments) -> Floats:
    """Returns `(M, 1)` the smallest deviation that is believed."""
    degrees = [side.degrees() for side in sides]
    if min(side.min() for side in degrees) < 1:
        raise NotApplicable("LiRA needs two shadow models with, and two without, the same example")
    squares = sum(side.squares.sum(1, keepdims=True) for side in sides)
    floor: Floats = np.maximum(SMALLEST_SHARE * np.sqrt(squares / sum(degrees)), SMALLEST_DEVIATION)
    return floor
