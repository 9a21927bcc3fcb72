import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from dpbench.metrics.one_run_limits import one_run_limits, p_values
from dpbench.privacy.audits.audit import epsilon_one_run


def slow_p_value(epsilon, canaries, guesses, correct, delta):
    law = binom(guesses, 1 / (1 + math.exp(-epsilon)))
    slack = max(
        (law.cdf(correct - 1) - law.cdf(correct - i - 1)) / i for i in range(1, correct + 1)
    )
    return min(1.0, law.sf(correct - 1) + 2 * canaries * delta * slack)


@given(st.floats(0, 6), st.integers(1, 80), st.data(), st.sampled_from([0.0, 1e-5, 1e-3, 0.1]))
def test_p_values_against_a_loop(epsilon, guesses, data, delta):
    correct = data.draw(st.integers(1, guesses))
    found = p_values(
        *(np.array([float(value)]) for value in (epsilon, 200, guesses, correct)), delta=delta
    )
    expected = slow_p_value(epsilon, 200, guesses, correct, delta)
    assert found[0] == pytest.approx(expected, rel=1e-8, abs=1e-12)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0, 4.0])
@pytest.mark.parametrize("guesses", [300, 20_000])
def test_p_values_of_many_guesses_against_all_window_widths(epsilon, guesses):
    rate = 1 / (1 + math.exp(-epsilon))
    spread = math.sqrt(guesses * rate * (1 - rate))
    tried = {round(guesses * rate + away * spread) for away in (-8, -2, 0, 1, 3, 10, 40)}
    correct = np.array(sorted(count for count in tried | {guesses, 1} if 0 < count <= guesses))
    found = p_values(
        np.full(correct.shape, epsilon), 1.0 * guesses, 1.0 * guesses, 1.0 * correct, delta=1e-6
    )
    law = binom(guesses, rate)
    below = law.cdf(np.arange(-1, guesses))
    for count, value in zip(correct.tolist(), found.tolist(), strict=True):
        slack = np.max((below[count] - below[:count][::-1]) / np.arange(1, count + 1))
        expected = min(1.0, law.sf(count - 1) + 2e-6 * guesses * slack)
        assert value == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(
    ("canaries", "guesses", "correct", "delta", "epsilon"),
    [
        (1000, 1000, 600, 0.0, 0.29747),
        (1000, 100, 100, 0.0, 3.49297),
        (1000, 100, 90, 0.0, 1.63082),
        (1000, 100, 100, 1e-5, 3.46538),
        (1000, 200, 190, 1e-5, 2.39362),
        (5000, 500, 400, 1e-5, 1.19522),
        (1000, 100, 50, 0.0, 0.0),
    ],
)
def test_published_numbers(canaries, guesses, correct, delta, epsilon):
    found = one_run_limits(canaries, guesses, correct, delta=delta)
    assert found == pytest.approx(epsilon, abs=1e-5)


def test_whole_counts_give_the_limit_of_one_run():
    rng = np.random.default_rng(0)
    guesses = rng.integers(1, 400, size=40)
    correct = rng.integers(0, guesses + 1)
    for delta in (0.0, 1e-6, 1e-4, 1e-2):
        found = one_run_limits(500, guesses, correct, delta=delta)
        for row, (made, hits) in enumerate(zip(guesses.tolist(), correct.tolist(), strict=True)):
            expected = epsilon_one_run(canaries=500, guesses=made, correct=hits, delta=delta)
            assert found[row] == pytest.approx(expected, abs=1e-7)


def test_limits_lie_between_those_of_the_neighbouring_whole_counts():
    below, between, above = one_run_limits(900, [50, 50, 50], [40, 40.4, 41], delta=1e-5)
    assert below < between < above


def test_fewer_rounds_round_down():
    exact = one_run_limits(10_000, 1000, 800, delta=1e-5)
    coarse = one_run_limits(10_000, 1000, 800, delta=1e-5, rounds=2)
    assert exact - one_run_limits(10_000, 1000, 800) / 64 <= coarse <= exact


def test_nothing_guessed_or_nothing_right_proves_nothing():
    assert np.array_equal(one_run_limits(10, [0, 5, 5], [0, 0, 2], delta=1e-3), [0, 0, 0])


def test_a_large_delta_proves_nothing():
    assert one_run_limits(1000, 1000, 1000, delta=0.5) == 0
