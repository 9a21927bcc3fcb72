"""Learning-rate schedules against their closed forms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpbench.training.recipe import Recipe
from dpbench.training.schedule import learning_rates


def rates(schedule: str, *, steps: int = 4, lr: float = 0.8) -> list[float]:
    recipe = Recipe(lr=lr, schedule=schedule)
    return learning_rates(recipe, recipe.sampling(100)._replace(steps=steps))


def test_constant():
    assert rates("constant") == [0.8] * 4


def test_linear_falls_to_zero_after_the_last_step():
    assert rates("linear") == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_cosine_is_half_a_period():
    expected = [0.4 * (1 + math.cos(math.pi * step / 4)) for step in range(4)]
    assert rates("cosine") == pytest.approx(expected)
    assert rates("cosine", steps=2) == pytest.approx([0.8, 0.4])


@given(st.sampled_from(["constant", "linear", "cosine"]), st.integers(1, 200))
def test_starts_at_the_peak_stays_positive_and_never_rises(schedule, steps):
    values = rates(schedule, steps=steps)
    assert len(values) == steps
    assert values[0] == 0.8
    assert all(value > 0 for value in values)
    assert values == sorted(values, reverse=True)
