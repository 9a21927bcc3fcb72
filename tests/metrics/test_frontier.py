"""Reading a baseline off between its strengths."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpbench.metrics.frontier import Frontier

UNIT = st.floats(0, 1)
PAIRS = st.lists(st.tuples(UNIT, UNIT), min_size=1, max_size=8)


def pooled(values):
    """Isotonic regression as its definition has it: max over starts of min over ends of means."""
    n = len(values)
    return [
        max(min(np.mean(values[a : b + 1]) for b in range(i, n)) for a in range(i + 1))
        for i in range(n)
    ]


def read(along, values, level):
    """Walks from the strictest strength on."""
    along, values = pooled(along), pooled(values)
    level = min(max(level, along[0]), along[-1])
    for index, (here, value) in enumerate(zip(along, values, strict=True)):
        if here >= level:
            if index == 0:
                return value
            share = (level - along[index - 1]) / (here - along[index - 1])
            return values[index - 1] + share * (value - values[index - 1])
    raise AssertionError


def test_between_two_strengths_it_is_linear():
    point = Frontier(np.array([0.7, 0.8]), np.array([0.1, 0.3])).at(0.775)
    assert point.value == pytest.approx(0.25)
    assert point.along == 0.775
    assert point.position == pytest.approx(0.75)


@pytest.mark.parametrize(("level", "value", "position"), [(0.5, 0.1, 0), (0.9, 0.3, 1)])
def test_out_of_reach_is_its_nearer_end(level, value, position):
    point = Frontier(np.array([0.7, 0.8]), np.array([0.1, 0.3])).at(level)
    assert (point.value, point.position) == (value, position)
    assert point.along == (0.7 if level < 0.7 else 0.8)


def test_where_accuracy_no_longer_grows_the_strictest_strength_is_taken():
    point = Frontier(np.array([0.7, 0.8, 0.8]), np.array([0.1, 0.2, 0.6])).at(0.8)
    assert (point.value, point.position) == (0.2, 1)


def test_noise_does_not_choose_the_luckiest_point():
    # The looser strength happened to leak less: both are pooled, neither is preferred.
    point = Frontier(np.array([0.7, 0.8, 0.81]), np.array([0.1, 0.3, 0.2])).at(0.8)
    assert point.value == pytest.approx(0.25)


@given(PAIRS, UNIT)
def test_it_is_a_walk_along_pooled_points(pairs, level):
    along, values = (np.array(column) for column in zip(*pairs, strict=True))
    assert Frontier(along, values).at(level).value == pytest.approx(
        read(along, values, level), abs=1e-6
    )


@given(PAIRS, UNIT, UNIT)
def test_more_accuracy_never_leaks_less(pairs, first, second):
    along, values = (np.array(column) for column in zip(*pairs, strict=True))
    frontier = Frontier(along, values)
    low, high = sorted((first, second))
    assert frontier.at(low).value <= frontier.at(high).value + 1e-12


@given(PAIRS, st.floats(-0.5, 1.5))
def test_the_neighbours_hold_the_reading_whatever_the_course(pairs, level):
    along, values = (np.array(column) for column in zip(*pairs, strict=True))
    point = Frontier(along, values).at(level)
    assert point.stricter - 1e-12 <= point.value <= point.looser + 1e-12


def test_on_a_strength_and_beyond_the_ends_nothing_is_left_open():
    frontier = Frontier(np.array([0.7, 0.8]), np.array([0.1, 0.3]))
    for level in (0.6, 0.7, 0.8, 0.9):
        point = frontier.at(level)
        assert point.stricter == point.value == point.looser
    between = frontier.at(0.75)
    assert (between.stricter, between.looser) == (0.1, 0.3)
