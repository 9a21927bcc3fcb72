import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit
from scipy.stats import t

from dpbench.metrics import accuracy_interval


def test_closed_form():
    correct = np.array([[1, 1, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]], dtype=bool)
    rows, columns = np.array([0.75, 0.5, 1.0]), np.array([1, 2 / 3, 1 / 3, 1])
    half = t.ppf(0.975, 2) * np.sqrt(rows.var(ddof=1) / 3 + columns.var(ddof=1) / 4)
    assert accuracy_interval(correct) == pytest.approx((0.75, max(0, 0.75 - half), 1.0))


def test_one_model_covers_new_examples_alone():
    correct = np.random.default_rng(0).random((1, 400)) < 0.7
    value, low, high = accuracy_interval(correct)
    assert high - low == pytest.approx(2 * 1.966 * np.sqrt(value * (1 - value) / 400), rel=0.01)


@given(st.integers(1, 5), st.integers(1, 8), st.integers(0, 2**32))
def test_the_interval_contains_its_estimate(models, examples, seed):
    correct = np.random.default_rng(seed).random((models, examples)) < 0.5
    value, low, high = accuracy_interval(correct)
    assert 0 <= low <= value <= high <= 1
    assert value == pytest.approx(correct.mean())


def test_coverage_of_new_models_and_new_examples():
    truth_rng = np.random.default_rng(1)
    logits = 1 + 0.3 * truth_rng.normal(size=10**6) + 1.5 * truth_rng.normal(size=10**6)
    truth = expit(logits).mean()
    covered = 0
    for experiment in range(400):
        rng = np.random.default_rng([2, experiment])
        logits = 1 + 0.3 * rng.normal(size=(8, 1)) + 1.5 * rng.normal(size=(1, 120))
        _, low, high = accuracy_interval(rng.random((8, 120)) < expit(logits))
        covered += low <= truth <= high
    assert covered / 400 >= 0.92
