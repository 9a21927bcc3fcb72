"""Averages over shadows against loops, and their exact blindness to the target's own row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from slow_shadows import for_each, out_mean, sides

from dpbench.attacks.base import NotApplicable
from dpbench.attacks.toolbox.shadow_means import balanced_means, out_means


def draw(seed, models=6, points=9):
    rng = np.random.default_rng(seed)
    return rng.random((models, points)), rng.random((models, points)) < 0.5


@given(seed=st.integers(0, 10**6), models=st.integers(2, 8))
def test_both_sides_weigh_the_same_whatever_their_counts(seed, models):
    values, members = draw(seed, models)

    def slow(t, i):
        return np.mean([np.mean(side) for side in sides(values, members, t, i) if side])

    np.testing.assert_allclose(balanced_means(values, members), for_each(members, slow), rtol=1e-12)


@given(seed=st.integers(0, 10**6), models=st.integers(4, 8))
def test_the_out_mean_borrows_from_other_points_only(seed, models):
    values, members = draw(seed, models)
    members[:, 0] = True
    members[:2, 1] = False
    members[2:, 1] = False
    expected = for_each(members, lambda t, i: out_mean(values, members, t, i))
    np.testing.assert_allclose(out_means(values, members), expected, rtol=1e-12)


@pytest.mark.parametrize("mean", [balanced_means, out_means])
def test_a_row_is_exactly_independent_of_its_own_value_and_bit(mean):
    values, members = draw(1)
    other_values, other_bits = values.copy(), members.copy()
    other_values[2], other_bits[2] = 1e6 * values[3], ~members[2]
    one, other = mean(values, members), mean(other_values, other_bits)
    assert np.array_equal(one[2], other[2])
    assert not np.array_equal(one[3], other[3])


def test_without_shadows_there_is_no_mean():
    values, members = draw(2, models=1)
    with pytest.raises(NotApplicable, match="no shadow"):
        balanced_means(values, members)
    values, members = draw(2, models=3)
    members[:2] = True
    with pytest.raises(NotApplicable, match="without any"):
        out_means(values, members)
