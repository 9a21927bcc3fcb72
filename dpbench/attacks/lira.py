"""LiRA: a likelihood ratio for each point, from shadow models."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from dpbench.arrays import Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.augmented import augmented
from dpbench.attacks.toolbox.confidence import hinge, logit, of_targets_and_shadows
from dpbench.attacks.toolbox.likelihood_ratio import Variance, likelihood_ratio, one_sided
from dpbench.component import register


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
        statistic: `logit`, phi; or `hinge`, `log p_y - log max_{k != y} p_k`, which the paper finds
            to do about as well.
        queries: Views of each image to query: itself, its mirror image, then both shifted by one
            pixel, two, ...; 1, 2, 18 and 162 are the paper's.
        mirrored: Mirror images are among the views. Without them, 9, 25, 49 and 81 queries are all
            shifts by up to 1, 2, 3 and 4 pixels, for models that were trained on these alone.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Carlini, Chien, Nasr, Song, Terzis and Tramer, Membership Inference Attacks From First "
        "Principles, IEEE S&P 2022"
    )

    mode: Literal["online", "offline"] = "online"
    variance: Variance = "pooled"
    statistic: Literal["logit", "hinge"] = "logit"
    queries: Annotated[int, Field(ge=1, le=162)] = 1
    mirrored: bool = True

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
        evidence = likelihood_ratio if self.mode == "online" else one_sided
        statistic = logit if self.statistic == "logit" else hinge
        for inputs in augmented(view.inputs, self.queries, mirrored=self.mirrored):
            observed, shadows = of_targets_and_shadows(view, statistic, inputs)
            total += evidence(observed, shadows, view.members, variance=self.variance)
        return total
