"""Duplicates and splits: nothing is shared, and every draw comes from the seed."""

import numpy as np
import pytest
from given_data import images, population_of, table
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dpbench.data.splitting import MIN_REFERENCE, TEST_CAP, first_occurrences, split
from dpbench.errors import UserError


def slow_first_occurrences(inputs):
    kept = []
    for index, row in enumerate(inputs):
        if not any(np.array_equal(row, inputs[other]) for other in kept):
            kept.append(index)
    return kept


@given(arrays(np.uint8, st.tuples(st.integers(1, 30), st.just(2)), elements=st.integers(0, 3)))
def test_first_occurrences_agrees_with_comparing_all_pairs(inputs):
    assert first_occurrences(inputs).tolist() == slow_first_occurrences(inputs)


@given(arrays(np.float64, (12, 1, 2, 1), elements=st.sampled_from([0.0, -0.0, 1.0, 0.5])))
def test_negative_zero_equals_zero(inputs):
    assert first_occurrences(inputs).tolist() == slow_first_occurrences(inputs)


@given(
    arrays(np.uint8, (150, 3), elements=st.integers(0, 6)),
    st.integers(0, 100),
    st.integers(0, 2**32),
)
def test_parts_are_disjoint_and_hold_no_duplicate(columns, n_test, seed):
    raw = table(n=150, numbers=3, bits=0)._replace(train_x=columns)
    if n_test:
        raw = raw._replace(
            train_x=columns[n_test:],
            train_y=raw.train_y[n_test:],
            test_x=columns[:n_test],
            test_y=raw.train_y[:n_test],
        )
    try:
        population = population_of(raw, pool=20, reference=20, seed=seed)
    except UserError:
        return  # too few distinct rows are left
    parts = [population.pool_x, population.test_x, population.reference_x]
    rows = [tuple(row) for part in parts for row in part.tolist()]
    assert len(set(rows)) == len(rows)


def test_a_test_row_that_repeats_a_training_row_is_dropped_whatever_its_label():
    raw = table(n=60, n_test=30)
    repeated = raw.train_x[:10]
    raw = raw._replace(test_x=np.concatenate([repeated, raw.test_x[10:]]), test_y=raw.test_y)
    population = population_of(raw, pool=30)
    assert len(population.test_x) == 20
    assert len(population.pool_x) == len(population.reference_x) == 30


def test_labels_stay_with_their_inputs():
    raw = table(n=90, numbers=1, bits=0, n_classes=3, n_test=30)
    raw = raw._replace(train_x=raw.train_x + 100 * raw.train_y[:, None])
    raw = raw._replace(test_x=raw.test_x + 100 * raw.test_y[:, None])
    population = population_of(raw, pool=40)
    for x, y in (
        (population.pool_x, population.pool_y),
        (population.test_x, population.test_y),
        (population.reference_x, population.reference_y),
    ):
        order = np.argsort(x[:, 0])
        assert np.all(np.diff(y[order]) >= 0)


TRAIN, TEST = np.arange(1000), np.arange(1000, 1300)


def drawn(train=TRAIN, official=TEST[:0], pool=100, test=None, reference=None, seed=0):
    return split(train, official, pool=pool, test=test, reference=reference, seed=seed)


def test_without_an_official_part_a_fifth_is_carved_out():
    part = drawn()
    assert [len(indices) for indices in part] == [100, 200, 100]
    assert len(np.unique(np.concatenate(part))) == 400


def test_the_official_part_is_used_whole_and_leaves_the_training_part_alone():
    part = drawn(official=TEST, pool=700)
    assert sorted(part.test) == TEST.tolist()
    assert sorted(np.concatenate([part.pool, part.reference])) == TRAIN.tolist()


@pytest.mark.parametrize("official", [np.arange(0), np.arange(60_000, 75_000)])
def test_the_test_set_is_capped_by_default_only(official):
    train = np.arange(60_000)
    assert len(drawn(train=train, official=official).test) == TEST_CAP
    assert len(drawn(train=train, official=official, test=11_000).test) == 11_000


def test_sizes_asked_for_are_sizes_given():
    part = drawn(test=7, reference=33)
    assert [len(indices) for indices in part] == [100, 7, 33]


def test_another_seed_draws_other_parts_and_the_same_seed_the_same():
    first, second, other = drawn(seed=1), drawn(seed=1), drawn(seed=2)
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))


def test_a_larger_pool_contains_the_smaller_and_keeps_the_test_set():
    small, large = drawn(pool=100), drawn(pool=300)
    assert np.array_equal(large.pool[:100], small.pool)
    assert np.array_equal(large.test, small.test)


def test_a_draw_is_uniform():
    counts = np.zeros(40)
    for seed in range(400):
        counts[drawn(train=np.arange(40), official=TEST, pool=20, seed=seed).pool] += 1
    # Each index is in the pool with probability 1/2: six standard deviations of Binomial(400, 1/2).
    assert np.abs(counts - 200).max() < 60


@pytest.mark.parametrize(
    ("pool", "test", "reference", "limit"),
    [(980, None, None, 979), (900, 90, None, 890), (700, 200, 101, 699), (20, 5000, None, 0)],
)
def test_too_large_a_pool_says_how_many_are_available(pool, test, reference, limit):
    with pytest.raises(UserError, match=rf"population\.pool: {pool}.*\n.*at most {limit}$"):
        drawn(pool=pool, test=test, reference=reference)
    if limit:
        assert len(drawn(pool=limit, test=test, reference=reference).reference) >= MIN_REFERENCE


def test_a_large_pool_leaves_half_of_the_rest_to_the_test_set():
    parts = drawn(pool=900)
    assert len(parts.test) == len(parts.reference) == 50
    assert len(drawn(pool=400).test) == 200


def test_a_pool_may_take_all_but_the_smallest_reference_set():
    assert len(drawn(official=TEST, pool=980).reference) == MIN_REFERENCE
    with pytest.raises(UserError, match="are for the reference set"):
        drawn(official=TEST, pool=981)


def test_more_test_examples_than_the_official_part_holds():
    with pytest.raises(UserError, match=r"population\.test: 301 .*\n.*1 to 300"):
        drawn(official=TEST, test=301)


def test_duplicates_of_images_are_found_after_averaging():
    raw = images(n=80, side=2)
    twin = raw.train_x[0, :, ::-1]  # another image of the same mean
    raw = raw._replace(train_x=np.concatenate([raw.train_x[:79], twin[None]]))
    assert len(population_of(raw, pool=20, reference=60).pool_x) == 20
    with pytest.raises(UserError, match=r"of 7\d distinct"):
        population_of(raw, pool=20, reference=60, average_pool=2)
