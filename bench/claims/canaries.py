"""Claim 32: how far members and non-members lie apart, for ordinary and for strange examples."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from bench.claims.evidence import Floats, Line, all_of, at_least
from bench.claims.runs import Study
from dpbench.attacks.toolbox.confidence import logit
from dpbench.metrics import Interval
from dpbench.seeds import rng_for
from dpbench.study.run import Run

COUNT = 200
MEMBERS = 1000
"""What every model is trained on, on average, in all three pools."""


def lines(study: Study, data: str) -> Iterator[Line]:
    """Yields this claim on one data set."""
    groups = separations(study, data)
    steps = [_median_difference(groups[more], groups[less]) for less, more in pairwise(groups)]
    shown = ", ".join(f"{name} {np.median(d):.2f}" for name, d in groups.items())
    yield Line(
        32,
        "separation |μ_in − μ_out| / (σ_in + σ_out) grows: " + " < ".join(groups),
        data,
        f"medians {shown}; steps "
        + ", ".join(f"{step.value:.2f} [{step.low:.2f}, {step.high:.2f}]" for step in steps),
        all_of(*(at_least(step) for step in steps)),
    )


def separations(study: Study, data: str) -> dict[str, Floats]:
    """Returns the separation of every audited point, by group: correct, strange, mislabelled.

    `correct` are pool points that most models trained without them classify rightly.
    """
    ordinary = study.variant("canaries", data, label="-none", canaries=None, pool=2 * MEMBERS)
    members = ordinary.scores("none", "lira")[1]
    right = ordinary.outputs("none").argmax(-1) == ordinary.labels
    usual = (right & ~members).sum(0) > (~members).sum(0) / 2
    groups = {"correct": separation(ordinary)[usual]}
    for kind in ("out_of_distribution", "mislabelled"):
        run = study.variant(
            "canaries",
            data,
            label=f"-{kind}",
            canaries={"kind": kind, "count": COUNT},
            pool=MEMBERS + COUNT // 2,
        )
        groups[kind.replace("_", " ")] = separation(run)
    return groups


def separation(run: Run) -> Floats:
    """Returns d `(n,)` of phi over the models of a run."""
    return distance(logit(run.outputs("none"), run.labels), run.scores("none", "lira")[1])


def distance(phi: Floats, members: NDArray[np.bool_]) -> Floats:
    """Returns |mean_in - mean_out| / (sd_in + sd_out) over models, `(n,)`, of `phi (M, n)`."""
    sides = [np.where(side, phi, np.nan) for side in (members, ~members)]
    means = [np.nanmean(side, axis=0) for side in sides]
    spreads = [np.nanstd(side, axis=0, ddof=1) for side in sides]
    apart: Floats = np.abs(means[0] - means[1]) / (spreads[0] + spreads[1])
    return apart


def _median_difference(first: Floats, second: Floats) -> Interval:
    """Returns the difference of medians and its 95 % interval for new points."""

    def statistic(a: Floats, b: Floats, axis: int) -> Floats:
        difference: Floats = np.median(a, axis=axis) - np.median(b, axis=axis)
        return difference

    found = bootstrap(
        (first, second),
        statistic,
        n_resamples=999,
        method="percentile",
        rng=rng_for(0, "claims", "separation"),
    ).confidence_interval
    return Interval(float(np.median(first) - np.median(second)), found.low, found.high)
