import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpbench.metrics.intervals import resampling_weights
from dpbench.metrics.replicates import Bins
from dpbench.metrics.roc import auc, rank, roc, tpr_at


def repeated(scores, members, weights, axis):
    """The sample in which each model, or example, stands as often as its weight says."""
    times = weights.astype(int)
    return np.repeat(scores, times, axis=axis), np.repeat(members, times, axis=axis)


def unit_index(shape, axis):
    return np.indices(shape)[axis].ravel()


@given(st.integers(0, 2**32), st.integers(0, 3), st.sampled_from([0, 1]))
def test_small_samples_are_exact_at_low_fpr_and_close_in_area(seed, decimals, axis):
    rng = np.random.default_rng(seed)
    members = rng.random((6, 40)) < 0.5
    scores = np.round(rng.normal(size=(6, 40)) + members, decimals)
    weights = resampling_weights(members.shape[axis], 5, rng)
    found = Bins(rank(scores, members)).statistics(
        unit_index(members.shape, axis), weights, (0.02, 0.01)
    )
    for column in range(6):
        curve = roc(*repeated(scores, members, weights[:, column], axis))
        # Below 2 % FPR a bin's members count as tied with its one non-member of about 120.
        assert found[0, column] == pytest.approx(auc(curve), abs=2e-3)
        for row, fpr in ((1, 0.02), (2, 0.01)):
            expected = tpr_at(curve, fpr)
            if not np.isnan(expected):
                assert found[row, column] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("decimals", [2, 12])
@pytest.mark.parametrize("axis", [0, 1])
def test_large_samples_are_exact_at_low_fpr_and_close_in_area(decimals, axis):
    rng = np.random.default_rng(5)
    members = rng.random((20, 2000)) < 0.5
    scores = rng.normal(size=(20, 2000)) + 0.8 * members + 0.5 * rng.normal(size=(20, 1))
    scores = np.round(scores, decimals)
    weights = resampling_weights(members.shape[axis], 8, rng)
    bins = Bins(rank(scores, members))
    found = bins.statistics(unit_index(members.shape, axis), weights, (0.01, 0.001))
    for column in range(9):
        curve = roc(*repeated(scores, members, weights[:, column], axis))
        assert found[0, column] == pytest.approx(auc(curve), abs=2e-5)
        # A resample dominated by few models may look for its threshold among the coarse bins.
        assert found[1, column] == pytest.approx(tpr_at(curve, 0.01), abs=2e-3)
        assert found[2, column] == pytest.approx(tpr_at(curve, 0.001), abs=1e-6)
    assert found[1, 0] == pytest.approx(tpr_at(roc(scores, members), 0.01), abs=1e-6)


def test_constant_scores():
    members = np.tile([True, False], (3, 4))
    weights = resampling_weights(3, 4, np.random.default_rng(0))
    bins = Bins(rank(np.zeros((3, 8)), members))
    found = bins.statistics(unit_index((3, 8), 0), weights, (0.01,))
    assert found[0] == pytest.approx(0.5)
    assert found[1] == pytest.approx(0.01), "all of it is guessed"


@pytest.mark.parametrize("axis", [0, 1])
def test_members_found_by_the_highest_scores_alone(axis):
    """The rest need not be ranked if their false positives are never allowed."""
    rng = np.random.default_rng(6)
    members = rng.random((20, 300)) < 0.5
    scores = np.round(rng.normal(size=members.shape) + members, 2)
    weights = resampling_weights(members.shape[axis], 6, rng)
    ranking = rank(scores, members)
    some = ranking.pick(ranking.scores > 1.2)
    sides = [np.count_nonzero(side, axis=1 - axis) @ weights for side in (members, ~members)]
    found = Bins(some, fine=1.0).found(unit_index(members.shape, axis), weights, 0.02, *sides)
    for column in range(7):
        samples = repeated(scores, members, weights[:, column], axis)
        expected = tpr_at(roc(*samples), 0.02) * np.count_nonzero(samples[1])
        assert found[column] == pytest.approx(expected)


def test_no_false_positive_to_count():
    ranking = rank(np.array([[3.0, 2.0]]), np.array([[True, True]]))
    weights, sides = np.ones((2, 3), np.float32), (np.full(3, 5.0), np.full(3, 10.0))
    found = Bins(ranking, fine=1.0).found(np.arange(2), weights, 0.1, *sides)
    # Two are ranked first; the other three tie with all ten non-members.
    assert found == pytest.approx([2.3, 2.3, 2.3])
