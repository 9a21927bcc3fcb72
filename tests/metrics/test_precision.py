"""Calibrated precision against counting, in closed form, and where it cannot be had."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import norm

from dpbench.metrics import calibrated_precision, roc, threshold_for_precision


def drawn(seed, models=40, points=500, effect=1.5):
    rng = np.random.default_rng(seed)
    members = rng.random((models, points)) < 0.5
    return rng.standard_normal(members.shape) + effect * members, members


def balanced(scores, members, threshold):
    named = scores >= threshold
    found, wrong = named[members].mean(), named[~members].mean()
    return found, found / (found + wrong)


@pytest.mark.parametrize("precision", [0.55, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("tied", [False, True])
def test_the_threshold_is_the_smallest_that_reaches_the_precision(precision, tied):
    scores, members = drawn(0, 3, 60)
    scores = np.round(scores) if tied else scores
    reached = [t for t in np.unique(scores) if balanced(scores, members, t)[1] >= precision]
    found = threshold_for_precision(roc(scores, members), precision)
    assert found == (min(reached) if reached else math.inf)


@pytest.mark.parametrize("precision", [0.7, 0.9])
def test_gaussian_scores_meet_the_closed_form(precision):
    scores, members = drawn(1, 64, 4000)
    threshold = brentq(
        lambda t: norm.sf(t - 1.5) / (norm.sf(t - 1.5) + norm.sf(t)) - precision, -9, 9
    )
    found = calibrated_precision(scores, members, precision=precision, rng=np.random.default_rng(0))
    assert found.reachable
    assert found.thresholds == pytest.approx((threshold, threshold), abs=0.05)
    assert found.precision.value == pytest.approx(precision, abs=0.01)
    assert found.recall.value == pytest.approx(norm.sf(threshold - 1.5), abs=0.01)
    for interval in (found.precision, found.recall):
        assert interval.low < interval.value < interval.high < interval.low + 0.05


def test_thresholds_come_from_the_other_fold_and_rates_are_counted():
    scores, members = drawn(2, 6, 300)
    found = calibrated_precision(scores, members, precision=0.8, rng=np.random.default_rng(0))
    even, odd = (threshold_for_precision(roc(scores[i::2], members[i::2]), 0.8) for i in (0, 1))
    assert found.thresholds == (odd, even)
    named = scores >= np.array(found.thresholds)[np.arange(6) % 2][:, None]
    tpr, fpr = named[members].mean(), named[~members].mean()
    assert found.recall.value == pytest.approx(tpr)
    assert found.precision.value == pytest.approx(tpr / (tpr + fpr))


def test_what_scores_cannot_reach_is_said():
    scores, members = drawn(3, 8, 400, effect=0.0)
    scores = (scores > 0) * 1.0
    found = calibrated_precision(scores, members, precision=0.9, rng=np.random.default_rng(0))
    assert not found.reachable
    assert found.precision is None
    assert found.recall is None
    assert math.inf in found.thresholds


def test_thresholds_that_do_not_fit_the_other_fold_are_counted_as_they_fall():
    members = np.tile([True, False], (2, 5))
    low = np.where(members[0], 1.0, 0.0)

    def found(odd):
        rng = np.random.default_rng(0)
        return calibrated_precision(np.stack([low, odd]), members, precision=1.0, rng=rng)

    # The even model is cut at 9, where nobody is; the odd one at 1, where everybody is.
    shifted = found(low + 8)
    assert shifted.thresholds == (9.0, 1.0)
    assert (shifted.recall.value, shifted.precision.value) == (0.5, 0.5)


@pytest.mark.parametrize("precision", [0.5, 0.0, 1.1])
def test_levels_that_mean_nothing_are_refused(precision):
    scores, members = drawn(4, 4, 20)
    with pytest.raises(ValueError, match="precision must be above"):
        calibrated_precision(scores, members, precision=precision, rng=np.random.default_rng(0))


def test_one_model_has_nothing_to_calibrate_on():
    scores, members = drawn(5, 1, 20)
    with pytest.raises(ValueError, match="only one"):
        calibrated_precision(scores, members, precision=0.9, rng=np.random.default_rng(0))


def test_intervals_cover_the_precision_of_new_models_and_examples():
    covered = 0
    for seed in range(200):
        scores, members = drawn(100 + seed, 8, 100)
        rng = np.random.default_rng(seed)
        found = calibrated_precision(scores, members, precision=0.8, rng=rng, replicates=200)
        thresholds = np.array(found.thresholds)
        tpr, fpr = norm.sf(thresholds - 1.5).sum(), norm.sf(thresholds).sum()
        covered += found.precision.low <= tpr / (tpr + fpr) <= found.precision.high
    assert covered >= 0.92 * 200
