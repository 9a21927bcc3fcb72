"""Which points models classify correctly: all that a label-only release shows of a point."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dpbench.arrays import Bools, Floats
from dpbench.attacks.base import Access, Attack, View
from dpbench.attacks.toolbox.leave_one_out import leave_one_out, means


@dataclass(frozen=True, kw_only=True)
class CalibratedLabelAttack(Attack):
    """A statistic of labels from Choquette-Choo et al. 2021, calibrated by LiRA's test."""

    access: ClassVar[Access] = Access.LABEL
    needs_shadows: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Choquette-Choo, Tramer, Carlini and Papernot, Label-Only Membership Inference Attacks, "
        "ICML 2021; calibrated as in Carlini, Chien, Nasr, Song, Terzis and Tramer, Membership "
        "Inference Attacks From First Principles, IEEE S&P 2022"
    )


def right_targets_and_shadows(view: View, inputs: Floats | None = None) -> tuple[Bools, Bools]:
    """Returns where `(M, n)` the targets and the shadows give the true label, one query to each.

    An adaptive attack's shadows are the targets themselves, which are queried once.

    Args:
        view: The view whose oracles are queried.
        inputs: One for each challenge point; None stands for the points themselves.
    """
    observed: Bools = view.target.predictions(inputs) == view.labels
    if view.shadows is view.target:
        return observed, observed
    shadows: Bools = view.shadows.predictions(inputs) == view.labels
    return observed, shadows


def correctness_ratio(observed: Bools, shadows: Bools, members: Bools) -> Floats:
    """Returns the log-likelihood ratio `(M, n)` of being right or wrong.

    It is one Bernoulli for each point and side. A frequency f over shadows is smoothed to
    `(K f + 1/2) / (K + 1)`, with K half the shadows: the expected count, since the true one must
    not enter a score.

    Args:
        observed: `(M, n)` where the targets are right.
        shadows: `(M, n)` where the shadows are; row t is left out for target t.
        members: `(M, n)` the shadows' bits; likewise.
    """
    right = shadows.astype(np.float64)
    inside, outside = leave_one_out(right, members), leave_one_out(right, ~members)
    # A point with shadows on one side only takes their frequency plus the average gap between the
    # sides (`means`), which may leave [0, 1].
    half = (len(members) - 1) / 2
    chance_in, chance_out = (
        (half * np.clip(frequency, 0, 1) + 0.5) / (half + 1) for frequency in means(inside, outside)
    )
    return np.where(
        observed,
        np.log(chance_in / chance_out),
        np.log((1 - chance_in) / (1 - chance_out)),
    )
