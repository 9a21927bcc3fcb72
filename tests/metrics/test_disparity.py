"""Coverage, stability and overlap by hand, and thresholds that come from other models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dpbench.metrics.disparity import disparity, exclusive, found_at, jaccard


def test_by_hand():
    found = np.array([[1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]], bool)
    measured = disparity(found)
    assert measured.tpr == pytest.approx(5 / 12)
    assert measured.coverage == 3 / 4
    assert measured.stability == 1 / 4
    assert measured.jaccard == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 3)
    assert exclusive(found).tolist() == [1 / 4, 1 / 4, 0]


def test_nobody_found_has_no_overlap():
    nobody = np.zeros((2, 5), bool)
    assert np.isnan(jaccard(*nobody))
    assert np.isnan(disparity(nobody).jaccard)
    assert np.isnan(disparity(nobody[:1]).jaccard)


@given(arrays(bool, (3, 12)))
def test_stability_is_below_the_tpr_and_coverage_above(found):
    measured = disparity(found)
    assert measured.stability <= measured.tpr <= measured.coverage
    if not np.isnan(measured.jaccard):
        assert 0 <= measured.jaccard <= 1
    assert exclusive(found).sum() <= measured.coverage


@given(st.integers(0, 2**32 - 1))
def test_thresholds_come_from_the_other_fold(seed):
    rng = np.random.default_rng(seed)
    scores, members = rng.standard_normal((6, 80)), rng.random((6, 80)) < 0.5
    found = found_at(scores, members, 0.05)
    for fold in (0, 1):
        others, bits = scores[1 - fold :: 2], members[1 - fold :: 2]
        threshold = min(
            value for value in others.ravel() if (others[~bits] >= value).mean() <= 0.05
        )
        assert np.array_equal(found[fold::2], scores[fold::2] >= threshold)


def test_a_false_positive_rate_needs_enough_scores():
    with pytest.raises(ValueError, match="needs 1000 non-member scores"):
        found_at(np.zeros((4, 50)), np.arange(200).reshape(4, 50) % 2 == 0, 0.001)
