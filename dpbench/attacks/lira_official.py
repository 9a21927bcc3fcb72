"""LiRA as the published script computes it, where that differs from the paper."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from dpbench.arrays import Bools, Floats
from dpbench.attacks.base import Access, Attack, NotApplicable, View
from dpbench.attacks.toolbox.confidence import logit, of_targets_and_shadows
from dpbench.attacks.toolbox.leave_one_out import leave_one_out
from dpbench.component import register

SMALLEST_DEVIATION = 1e-6


@register
@dataclass(frozen=True, kw_only=True)
class LiraOfficial(Attack):
    """Likelihood ratio of the logit-scaled confidence, with the choices of the authors' script.

    For tables that were made with it. Against `lira` (Carlini et al. 2022, Algorithm 1): centres
    are medians; deviations have no degrees of freedom taken off; the fixed deviation is that of all
    IN scores of all examples, differences between examples included, and serves both sides; and the
    offline score is minus the log-density under the OUT Gaussian, which is two-sided: a confidence
    far *below* the OUT models' counts as membership too. The script also cuts all examples to the
    smallest number of IN and OUT shadows. That number depends on the attacked bits, so this is not
    reproduced. The assumptions are those of LiRA.

    Attributes:
        mode: `online` or `offline`.
        variance: `per_example`, or `fixed`.
    """

    access: ClassVar[Access] = Access.SCORE
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Carlini, Chien, Nasr, Song, Terzis and Tramer, Membership Inference Attacks From First "
        "Principles, IEEE S&P 2022: script of the authors"
    )

    mode: Literal["online", "offline"] = "online"
    variance: Literal["per_example", "fixed"] = "fixed"

    def score(self, view: View) -> Floats:
        """Returns the log-likelihood ratio (online) or minus the OUT log-density (offline).

        Raises:
            NotApplicable: Some target has no IN or no OUT shadow for any point.
        """
        observed, shadows = of_targets_and_shadows(view, logit)
        out = _minus_log_density(observed, shadows, ~view.members, self._deviation)
        if self.mode == "offline":
            return out
        if self.variance == "fixed":
            # The script's fixed deviation of the OUT side is that of the IN side.
            deviation = self._deviation(shadows, view.members)
            out = _minus_log_density(observed, shadows, ~view.members, lambda *_: deviation)
        return out - _minus_log_density(observed, shadows, view.members, self._deviation)

    def _deviation(self, values: Floats, include: Bools) -> Floats:
        """Returns the leave-one-out deviation, `(M, n)` or `(M, 1)`."""
        if self.variance == "per_example":
            side = leave_one_out(values, include)
            return np.sqrt(side.squares / np.maximum(side.models, 1))
        # Recomputed without each target: subtracting its row from totals would leave a trace of it.
        rest = np.arange(len(values))
        pooled = [values[rest != t][include[rest != t]] for t in rest]
        return np.array([[some.std() if some.size else 0.0] for some in pooled])


def _minus_log_density(
    observed: Floats,
    values: Floats,
    include: Bools,
    deviation_of: Callable[[Floats, Bools], Floats],
) -> Floats:
    center = leave_one_out_median(values, include)
    deviation = np.maximum(deviation_of(values, include), SMALLEST_DEVIATION)
    z = (observed - center) / deviation
    density: Floats = z * z / 2 + np.log(deviation)
    return density


def leave_one_out_median(values: Floats, include: Bools) -> Floats:
    """Returns `(M, n)` the median over the included models other than t.

    An example without such a model takes the median of the other examples' medians.

    Args:
        values: `(M, n)` one statistic per model and example.
        include: `(M, n)` whether a model counts for an example.

    Raises:
        NotApplicable: A target is left with no model for any example.
    """
    # Models that do not count sort behind the `count` that do, and are never read.
    kept = np.where(include, values, np.inf)
    order = np.argsort(kept, axis=0, kind="stable")
    ranked, rank = np.take_along_axis(kept, order, 0), np.argsort(order, axis=0)
    count = include.sum(0) - include
    # Positions in the ranking without model t: models above it move down by one.
    low, high = (np.maximum(count - 1, 0) // 2, count // 2)
    below, above = (
        np.take_along_axis(ranked, np.minimum(place + (rank <= place), len(values) - 1), 0)
        for place in (low, high)
    )
    known = count > 0
    if not known.any(1).all():
        raise NotApplicable("a target has no shadow of one kind for any of the points")
    with np.errstate(invalid="ignore"):
        median = np.where(known, (below + above) / 2, np.nan)
    overall = np.nanmedian(median, axis=1, keepdims=True)
    completed: Floats = np.where(known, median, overall)
    return completed
