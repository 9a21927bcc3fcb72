"""Leave-one-out moments against loops, and their exact blindness to the left-out row."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpbench.attacks.toolbox.leave_one_out import leave_one_out, means


def draw(seed, models=7, points=11, center=0.0):
    rng = np.random.default_rng(seed)
    values = center + rng.standard_normal((models, points))
    return values, rng.random((models, points)) < 0.5


def slow(values, include):
    count, mean, squares = np.zeros((3, *values.shape))
    for t in range(len(values)):
        for i in range(values.shape[1]):
            kept = [values[s, i] for s in range(len(values)) if s != t and include[s, i]]
            count[t, i] = len(kept)
            if kept:
                mean[t, i] = np.mean(kept)
                squares[t, i] = np.var(kept) * len(kept)
    return count, mean, squares


@given(seed=st.integers(0, 10**6), models=st.integers(1, 9), points=st.integers(1, 5))
def test_moments_are_those_of_a_loop(seed, models, points):
    values, include = draw(seed, models, points)
    found = leave_one_out(values, include)
    for fast, expected in zip(found, slow(values, include), strict=True):
        np.testing.assert_allclose(fast, expected, rtol=1e-12, atol=1e-12)


def test_variances_are_unbiased_and_pooled_within_examples():
    values, include = draw(3)
    found = leave_one_out(values, include)
    for t in range(len(values)):
        others = np.arange(len(values)) != t
        kept = [values[others & include[:, i], i] for i in range(values.shape[1])]
        enough = [k for k in kept if len(k) >= 2]
        numerator = sum(np.var(k, ddof=1) * (len(k) - 1) for k in enough)
        pooled = numerator / sum(len(k) - 1 for k in enough)
        assert found.pooled_variance()[t, 0] == pytest.approx(pooled, rel=1e-12)
        for i, k in enumerate(kept):
            expected = np.var(k, ddof=1) if len(k) >= 2 else 0.0
            assert found.variance()[t, i] == pytest.approx(expected, rel=1e-12, abs=1e-15)


@given(seed=st.integers(0, 10**6), target=st.integers(0, 6))
def test_a_row_is_exactly_independent_of_its_own_value_and_bit(seed, target):
    values, include = draw(seed)
    found = leave_one_out(values, include)
    other_values, other_bits = values.copy(), include.copy()
    other_values[target] = 1e6 * np.random.default_rng(seed + 1).standard_normal(values.shape[1])
    other_bits[target] ^= True
    for one, other in zip(found, leave_one_out(other_values, other_bits), strict=True):
        assert np.array_equal(one[target], other[target])


@given(seed=st.integers(0, 10**6))
def test_renumbering_the_models_renumbers_the_rows(seed):
    values, include = draw(seed)
    order = np.random.default_rng(seed).permutation(len(values))
    found = leave_one_out(values, include)
    renumbered = leave_one_out(values[order], include[order])
    for one, other in zip(found, renumbered, strict=True):
        np.testing.assert_allclose(one[order], other, rtol=1e-11, atol=1e-12)


def test_equal_values_have_variance_exactly_zero():
    values = np.tile([0.1, -103.6, 1 / 3], (12, 1))
    include = draw(5, 12, 3)[1]
    found = leave_one_out(values, include)
    assert not found.squares.any()
    assert np.array_equal(found.mean[found.models > 0], values[found.models > 0])


def test_a_large_offset_costs_no_accuracy():
    values, include = draw(9, models=64, points=20)
    shifted = leave_one_out(values + 2.0**20, include)
    np.testing.assert_allclose(
        shifted.variance(), leave_one_out(values, include).variance(), rtol=1e-8
    )


def test_a_missing_side_borrows_the_other_and_the_average_gap():
    values = np.array([[1.0, 5.0], [2.0, 6.0], [3.0, 4.0]])
    members = np.array([[True, True], [False, True], [True, True]])
    mean_in, mean_out = means(leave_one_out(values, members), leave_one_out(values, ~members))
    # Target 0 keeps models 1 and 2: example 0 has IN 3 and OUT 2, example 1 has IN 5 and no OUT.
    assert mean_in[0].tolist() == [3.0, 5.0]
    assert mean_out[0].tolist() == [2.0, 4.0]
    # Target 1 keeps models 0 and 2, both IN everywhere: no gap is known.
    assert mean_out[1].tolist() == mean_in[1].tolist() == [2.0, 4.5]
