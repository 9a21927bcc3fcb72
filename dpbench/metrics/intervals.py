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
share those shadows, and the interval covers new targets under like shadows.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

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
    draws = (rng.integers(0, units, size=units) for _ in range(replicates))
    counts = [np.bincount(drawn, minlength=units) for drawn in draws]
    table = np.stack([np.ones(units, dtype=np.int64), *counts], dtype=np.float32, casting="unsafe")
    return np.ascontiguousarray(table.T)


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
    sums = np.add.outer(models, examples)
    low, high = np.quantile(sums, (TAIL, 1 - TAIL))
    return Interval(
        value,
        float(np.clip(value + min(low, 0.0), lowest, highest)),
        float(np.clip(value + max(high, 0.0), lowest, highest)),
    )
