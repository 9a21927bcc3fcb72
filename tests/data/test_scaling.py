"""Standardisation: by public statistics only, in the units that attacks are told about."""

import math

import numpy as np
import pytest
from given_data import images, population_of, table
from hypothesis import given
from hypothesis import strategies as st

from dpbench.data.scaling import Scaling, average_pool
from dpbench.data.splitting import split
from dpbench.errors import UserError

NO_BITS = np.zeros(1, dtype=bool)


def slow_block_means(images, factor):
    n, c, h, w = images.shape
    means = np.empty((n, c, h // factor, w // factor))
    for index in np.ndindex(*means.shape):
        i, j, row, column = index
        block = images[
            i, j, row * factor : (row + 1) * factor, column * factor : (column + 1) * factor
        ]
        means[index] = block.astype(float).mean()
    return means


@given(st.integers(1, 4), st.integers(0, 1000))
def test_block_means_agree_with_a_loop(factor, seed):
    raw = images(n=3, side=factor * 3, channels=2, seed=seed).train_x
    pooled = average_pool(raw, factor)
    assert pooled.shape == (3, 2, 3, 3)
    scale = 1 if factor == 1 else 255
    np.testing.assert_allclose(pooled, slow_block_means(raw, factor) / scale, rtol=1e-6)


def test_block_means_of_floats():
    raw = np.arange(16, dtype=np.float32).reshape(1, 1, 4, 4) / 16
    expected = np.array([[2.5, 4.5], [10.5, 12.5]]) / 16
    assert np.array_equal(average_pool(raw, 2)[0, 0], expected)


def test_a_factor_that_does_not_divide_is_refused():
    with pytest.raises(UserError, match=r"3 does not divide images of 28x28\n.*1, 2, 4, 7, 14, 28"):
        average_pool(np.zeros((1, 1, 28, 28), np.uint8), 3)


def test_images_by_hand():
    reference = np.array([0, 255, 51, 153], dtype=np.uint8).reshape(2, 1, 1, 2)
    scaling = Scaling.fit(reference, binary=np.zeros((1, 1, 2), bool), is_image=True)
    # Pixel means .1 and .8; deviations around them +-.1 and +-.2, so the variance is .025.
    deviation = math.sqrt(0.025)
    expected = np.array([[-0.1, 0.2], [0.1, -0.2]]) / deviation
    np.testing.assert_allclose(scaling.apply(reference)[:, 0, 0], expected, rtol=1e-5)
    np.testing.assert_allclose(scaling.low[0, 0], [-0.1 / deviation, -0.8 / deviation], rtol=1e-5)
    np.testing.assert_allclose(scaling.high[0, 0], [0.9 / deviation, 0.2 / deviation], rtol=1e-5)
    np.testing.assert_allclose(scaling.unit, 1 / deviation, rtol=1e-5)
    np.testing.assert_allclose(scaling.zero, scaling.low)


def test_columns_by_hand():
    reference = np.array([[1.0, 7.0, 1.0], [3.0, 7.0, 1.0], [5.0, 7.0, 1.0]])
    scaling = Scaling.fit(reference, binary=np.array([False, False, True]), is_image=False)
    third = math.sqrt(8 / 3)
    member = scaling.apply(np.array([[11.0, 9.0, 0.0]]))
    np.testing.assert_allclose(member, [[8 / third, 2.0, 0.0]], rtol=1e-6)
    np.testing.assert_allclose(scaling.low, [-2 / third, 0, 0], rtol=1e-6)
    np.testing.assert_allclose(scaling.high, [2 / third, 0, 1], rtol=1e-6)
    assert scaling.unit.tolist() == [1, 1, 1]
    np.testing.assert_allclose(scaling.zero, [-3 / third, -7, 0], rtol=1e-6)


def test_a_constant_column_whose_mean_rounds_is_still_constant():
    scaling = Scaling.fit(np.full((7, 1), 0.1), binary=NO_BITS, is_image=False)
    assert scaling.apply(np.array([[0.1], [1.1]])).ravel().tolist() == [0.0, 1.0]


def test_constant_images_are_only_centred():
    reference = np.full((3, 1, 2, 2), 255, np.uint8)
    scaling = Scaling.fit(reference, binary=np.zeros((1, 2, 2), bool), is_image=True)
    assert not scaling.apply(reference).any()
    assert np.all(scaling.unit == 1)


def test_a_value_that_overflows_is_an_error():
    scaling = Scaling.fit(np.array([[0.0], [1e-30]]), binary=NO_BITS, is_image=False)
    with pytest.raises(UserError, match=r"feature \(0,\) overflows"):
        scaling.apply(np.array([[1e20]]))


@pytest.mark.parametrize("raw", [table(n=150), images(n=150)], ids=["table", "images"])
def test_the_reference_set_is_standardised(raw):
    x = population_of(raw, pool=40, reference=60).reference_x.astype(np.float64)
    columns = x.reshape(60, -1) if raw.is_image else x[:, ~raw.binary]
    np.testing.assert_allclose(columns.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(columns.std() if raw.is_image else columns.std(axis=0), 1, rtol=1e-5)


@pytest.mark.parametrize("raw", [table(n=150, n_test=30), images(n=150)], ids=["table", "images"])
def test_changing_the_pool_or_the_test_set_changes_no_statistic(raw):
    part = split(np.arange(150), np.arange(150, 180), pool=40, test=None, reference=60, seed=0)
    secret = ~np.isin(np.arange(150), part.reference)
    changed = raw.train_x.copy()
    changed[secret] = np.where(raw.binary, changed[secret], 50 - changed[secret])
    before = population_of(raw, pool=40, reference=60)
    after = population_of(
        raw._replace(train_x=changed, test_x=raw.test_x[::-1] // 2), pool=40, reference=60
    )
    for field in ("reference_x", "reference_y", "low", "high", "unit", "binary"):
        assert np.array_equal(getattr(after, field), getattr(before, field)), field
    for field in ("pool_x", "test_x"):
        assert not np.array_equal(getattr(after, field), getattr(before, field)), field
    # The other way round, one changed public row must move the pool's inputs.
    changed = raw.train_x.copy()
    changed[part.reference[0]] = np.where(raw.binary, 1, 7)
    moved = population_of(raw._replace(train_x=changed), pool=40, reference=60)
    assert not np.array_equal(moved.pool_x, before.pool_x)


def test_bits_are_judged_by_declaration_not_by_content():
    raw = table(n=150, numbers=2, bits=1)
    looks_binary = raw.train_x.copy()
    looks_binary[:, 0] = looks_binary[:, 0] > 5
    population = population_of(raw._replace(train_x=looks_binary), pool=40)
    assert population.binary.tolist() == [False, False, True]
    assert set(np.unique(population.pool_x[:, 2])) == {0.0, 1.0}
    assert not set(np.unique(population.pool_x[:, 0])) <= {0.0, 1.0}
