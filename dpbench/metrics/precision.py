"""Precision that is promised: thresholds calibrated on some models and kept on others.

An adversary who would rather name few members than wrong ones calibrates the threshold on models
whose members are known, so that precision there reaches a level, and then applies it to the target
(Leino and Fredrikson 2020). Precision is that of a balanced prior, TPR / (TPR + FPR).
"""

import math
from typing import NamedTuple

import numpy as np

from dpbench.metrics.intervals import Interval, crossed_interval, deviations, resampling_weights
from dpbench.metrics.roc import Bools, Floats, Roc, rank
from dpbench.metrics.thresholds import fold_curves


class CalibratedPrecision(NamedTuple):
    """What a calibrated threshold achieves on models other than those it was chosen on.

    Attributes:
        wanted: The precision that was asked for.
        thresholds: Applied to the even models and to the odd ones, each chosen on the other fold;
            infinite where no threshold of that fold reaches the precision.
        reachable: Whether both folds have such a threshold.
        precision: Realised TPR / (TPR + FPR) of all models, with its interval for new models and
            examples; None where the precision is not reachable, or where nobody scores so high.
        recall: Realised TPR, likewise; None where the precision is not reachable.
    """

    wanted: float
    thresholds: tuple[float, float]
    reachable: bool
    precision: Interval | None
    recall: Interval | None


def threshold_for_precision(curve: Roc, precision: float) -> float:
    """Returns the smallest threshold with at least this precision at a balanced prior.

    Infinite where no threshold has it. The estimate is that of the curve's own scores: among many
    thresholds with few scores above them some reach a level by luck.
    """
    found = curve.tp[1:] / curve.positives
    wrong = curve.fp[1:] / curve.negatives
    reached = np.flatnonzero(found >= precision * (found + wrong))
    return float(curve.thresholds[1 + reached[-1]]) if reached.size else math.inf


def calibrated_precision(
    scores: Floats,
    members: Bools,
    *,
    precision: float,
    source: Floats | None = None,
    rng: np.random.Generator,
    replicates: int = 1000,
) -> CalibratedPrecision:
    """Returns the precision and recall of thresholds that are calibrated on the other fold.

    Even models are decided by the threshold of the odd ones, and the reverse. It assumes that
    scores mean the same on all models.

    Args:
        scores: `(M, n)`, higher means member.
        members: `(M, n)` bits.
        precision: The level wanted, above 1/2 and at most 1.
        source: `(M, n)` scores of the same models on which thresholds are calibrated; by default
            `scores`. They must know no bit of the other fold (`thresholds`).
        rng: Draws the replicates.
        replicates: Bootstrap replicates for models, and as many for examples.

    Raises:
        ValueError: The precision is out of range, there are fewer than two models, or a fold has
            only members or only non-members.
    """
    if not 0.5 < precision <= 1:
        raise ValueError(f"precision must be above 0.5 and at most 1, not {precision}")
    if len(scores) < 2:
        raise ValueError("a threshold is calibrated on other models: there is only one")
    known = scores if source is None else source
    curves = fold_curves(rank(known, members), scores.shape[1])
    if any(min(curve.positives, curve.negatives) == 0 for curve in curves):
        raise ValueError("a fold has only members or only non-members")
    even, odd = (threshold_for_precision(curve, precision) for curve in curves)
    thresholds = (odd, even)
    if math.inf in thresholds:
        return CalibratedPrecision(precision, thresholds, False, None, None)
    named = scores >= np.array(thresholds)[np.arange(len(scores)) % 2][:, None]
    counts = np.stack([named & members, named & ~members, members, ~members]).astype(np.float32)
    rates = [_rates(counts.sum(2 - axis), replicates, rng) for axis in (0, 1)]
    recall, realised = (_interval(rates[0][i], rates[1][i], scores.shape) for i in (0, 1))
    return CalibratedPrecision(precision, thresholds, True, realised, recall)


def _rates(counts: Floats, replicates: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Returns TPR and precision `(1 + replicates,)` of resampled units; the first are the sample's.

    Args:
        counts: `(4, units)` members named, others named, members, others.
        replicates: Number of replicates.
        rng: Draws them.
    """
    drawn = counts.astype(np.float64) @ resampling_weights(counts.shape[1], replicates, rng)
    found, wrong = drawn[0] / np.maximum(drawn[2], 1), drawn[1] / np.maximum(drawn[3], 1)
    named = found + wrong
    return found, np.divide(found, named, out=np.full_like(found, np.nan), where=named > 0)


def _interval(models: Floats, examples: Floats, shape: tuple[int, ...]) -> Interval | None:
    """Returns the interval of a rate; None if it is not defined on the sample.

    A replicate in which nobody is named has no precision: it takes the sample's.
    """
    value = float(models[0])
    if math.isnan(value):
        return None
    sides = [
        deviations(np.where(np.isnan(rates), value, rates), units)
        for rates, units in zip((models, examples), shape, strict=True)
    ]
    return crossed_interval(value, *sides)
