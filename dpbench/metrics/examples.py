"""Which examples are exposed: advantage by example, and that of the most exposed ones."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.metrics.intervals import Interval, crossed_interval, deviations, resampling_weights
from dpbench.metrics.roc import Bools, Floats, rank
from dpbench.metrics.thresholds import decide, fold_curves

TOP_SHARE = 0.01
"""Share of the examples that counts as the most exposed."""


class ExampleAdvantage(NamedTuple):
    """Advantage on each example.

    Attributes:
        value: `(n,)` TPR - FPR over models; NaN if all models, or none, have the example.
        standard_error: `(n,)` of models that are independent; NaN with fewer than two members or
            two non-members.
    """

    value: NDArray[np.float64]
    standard_error: NDArray[np.float64]


def example_advantage(
    scores: Floats,
    members: Bools,
    *,
    source_scores: Floats | None = None,
    source_members: Bools | None = None,
) -> ExampleAdvantage:
    """Returns the advantage on each example, over the models it is in and those it is not in.

    Each model is decided at the threshold that is best on the other fold (even or odd) of the
    source (see `thresholds`). With 64 models an example's advantage has a standard error of about
    0.12: the largest of 5000 are mostly luck. `top_advantage` says how exposed they really are.

    Args:
        scores: `(M, n)` scores.
        members: `(M, n)` bits.
        source_scores: `(M', n)` scores on which thresholds are chosen; by default `scores`.
        source_members: Bits of the source; by default `members`.
    """
    source = scores if source_scores is None else source_scores
    bits = members if source_members is None else source_members
    curves = fold_curves(rank(source, bits), source.shape[1])
    decisions = decide(scores, np.arange(len(scores)), curves)
    value, variance = np.zeros((2, scores.shape[1]))
    for sign, side in ((1, members), (-1, ~members)):
        count = np.count_nonzero(side, axis=0).astype(float)
        rate = np.full(count.shape, np.nan)
        np.divide(np.count_nonzero(decisions & side, axis=0), count, out=rate, where=count > 0)
        value += sign * rate
        variance += np.where(count > 1, rate * (1 - rate) / np.maximum(count - 1, 1), np.nan)
    return ExampleAdvantage(value, np.sqrt(variance))


def top_advantage(
    decisions: Bools,
    members: Bools,
    *,
    models: NDArray[np.int64],
    exposed: tuple[NDArray[np.float64], NDArray[np.float64]],
    rng: np.random.Generator,
    replicates: int = 200,
) -> Interval:
    """Returns the advantage on the most exposed 1 % of the examples, without a winner's curse.

    They are chosen by their advantage on one fold of models (even or odd), and reported on the
    other, then the other way round, and the mean counts. The choice may depend on no bit of the
    reported models, so the scores by which examples are chosen must not be calibrated with them:
    see `thresholds`. The interval covers new models and other examples that are as exposed: models
    that use each other as shadows err together on an example, which models alone do not show.

    Args:
        decisions: `(m, n)` who is called a member, at thresholds from the other fold.
        members: `(m, n)` bits.
        models: `(m,)` numbers of the reported models.
        exposed: `(n,)` weights of the examples that fold 0, and fold 1, finds most exposed
            (`most_exposed`).
        rng: Draws the replicates.
        replicates: Bootstrap replicates of the models of a fold, and of its examples.
    """
    values, spreads = [], np.zeros((2, replicates))
    for fold in np.unique(models % 2):
        chosen = exposed[1 - fold]
        examples, rows = np.flatnonzero(chosen), np.flatnonzero(models % 2 == fold)
        called, bits = decisions[np.ix_(rows, examples)], members[np.ix_(rows, examples)]
        if bits.all() or not bits.any():
            return Interval(math.nan, math.nan, math.nan)
        cells = [side * chosen[examples] for side in (called & bits, bits, called & ~bits, ~bits)]
        for axis, units in enumerate(bits.shape):
            weights = resampling_weights(units, replicates, rng)
            found, positives, wrong, negatives = (
                cell.sum(axis=1 - axis) @ weights for cell in cells
            )
            gap = _ratio(found, positives) - _ratio(wrong, negatives)
            # A single unit has two deviations, the whole range: those repeat.
            spreads[axis] += np.resize(deviations(gap, units), replicates)
        values.append(float(gap[0]))
    # The folds report different models, so their deviations add up as they were drawn.
    by_model, by_example = spreads / len(values)
    value = sum(values) / len(values)
    return crossed_interval(value, by_model, by_example, lowest=-1.0)


def most_exposed(decisions: Bools, members: Bools) -> NDArray[np.float64]:
    """Returns `(n,)` weights of the most exposed examples; they sum to their number.

    Examples that tie for the last places share them.
    """
    inside, outside = np.count_nonzero(members, axis=0), np.count_nonzero(~members, axis=0)
    found = np.count_nonzero(decisions & members, axis=0)
    wrong = np.count_nonzero(decisions & ~members, axis=0)
    # Rounded, so that ties are ties.
    advantage = np.round(_ratio(found, inside) - _ratio(wrong, outside), 12)
    places = max(1, round(TOP_SHARE * advantage.size))
    last = np.partition(advantage, -places)[-places]
    above, equal = advantage > last, advantage == last
    weights: NDArray[np.float64] = above + equal * (places - above.sum()) / equal.sum()
    return weights


def _ratio(counts: NDArray[np.generic], of: NDArray[np.generic]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.asarray(counts, dtype=float) / np.maximum(of, 1)
    return ratio
