"""95 % intervals that cover new models and new examples.

The data are crossed: M models score the same n examples, so two scores are dependent if they share
the model *or* the example. An interval for "this attack, on models and examples like these" has to
let both vary. Resampling the examples of one model, as if its n scores were independent, ignores
that all of them hang on one training, and resampling models alone ignores that all models see the
same, perhaps unusually easy, examples; both are too narrow. Resampling both at once, as a table, is
too wide by the noise it counts twice over.

Here two one-way bootstraps are run, models with replacement and examples with replacement, and
their deviations from the estimate are added as independent: the variance is then that of models
plus that of examples. The noise particular to one (model, example) pair is in both, so the interval
errs on the wide side, by at most sqrt(2) and only where neither models nor examples matter.
Thresholds are held fixed. With attacks that use the other models as shadows, the models' scores
share those shadows, and the interval covers new targets under like shadows. All models are trained
on halves of one pool: an interval covers new models of that pool and new audited examples like its
own, not models trained on another pool.

A rate near 0 that hangs on few examples is skewed: samples without the exposed ones have both a low
rate and little spread. So the limit on the side away from the nearer end is at least the one on
the scale of the log odds, with the same standard error.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri, stdtrit

TAIL = 0.025

Weights = NDArray[np.float32]


class Interval(NamedTuple):
    """An estimate and its 95 % confidence limits."""

    value: float
    low: float
    high: float


def columns(name: str, value: Interval) -> dict[str, float]:
    """Returns the three columns of a number with limits."""
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}


def resampling_weights(units: int, replicates: int, rng: np.random.Generator) -> Weights:
    """Returns `(units, 1 + replicates)` counts of how often each replicate draws each unit.

    Column 0 is the sample itself: every unit once.
    """
    drawn = rng.integers(0, units, size=(replicates, units))
    # Every replicate counts in numbers of its own, so that all are counted at once.
    drawn += units * np.arange(replicates)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=replicates * units)
    table = np.ones((units, 1 + replicates), dtype=np.float32)
    table[:, 1:] = counts.reshape(replicates, units).T
    return table


def deviations(statistics: NDArray[np.floating], units: int) -> NDArray[np.float64]:
    """Returns the replicates' deviations from the sample, with a small sample's correction.

    Args:
        statistics: `(1 + replicates,)` values under `resampling_weights`.
        units: Number of resampled units. The bootstrap's variance lacks the factor units/(units -
            1), and its normal quantile the width of Student's.
    """
    if units < 2:
        # A single unit says nothing about others: the interval becomes the whole range.
        return np.array([-2.0, 2.0])
    # With 16 models Student's quantile is 9 % wider than the normal one, and the factor adds 3 %.
    spread = stdtrit(units - 1, 1 - TAIL) / ndtri(1 - TAIL) * np.sqrt(units / (units - 1))
    centred: NDArray[np.float64] = spread * (statistics[1:].astype(np.float64) - statistics[0])
    return centred


def crossed_interval(
    value: float,
    models: NDArray[np.float64],
    examples: NDArray[np.float64],
    *,
    lowest: float = 0.0,
    highest: float = 1.0,
) -> Interval:
    """Returns the interval whose deviations are all sums of a models' and an examples' deviation.

    Args:
        value: The estimate, always inside the interval.
        models: Deviations of the replicates that resample models.
        examples: Deviations of the replicates that resample examples.
        lowest: Smallest value the quantity can take.
        highest: Largest value the quantity can take.
    """
    sums = np.sort(np.add.outer(models, examples), axis=None)  # quicker than to part them twice
    low, high = value + np.quantile(sums, (TAIL, 1 - TAIL))
    if (lowest, highest) == (0.0, 1.0) and 0 < value < 1:
        # A sample that misses the exposed examples has too low a rate and too small a spread.
        odds = ndtri(1 - TAIL) * np.sqrt(models.var() + examples.var()) / (value * (1 - value))
        low = min(low, expit(logit(value) - odds))
        high = max(high, expit(logit(value) + odds))
    return Interval(
        value,
        float(np.clip(min(low, value), lowest, highest)),
        float(np.clip(max(high, value), lowest, highest)),
    )
