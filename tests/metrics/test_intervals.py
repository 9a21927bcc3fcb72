import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, t

from dpbench.metrics import evaluate
from dpbench.metrics.intervals import (
    Interval,
    crossed_interval,
    deviations,
    resampling_weights,
)

finite = st.floats(-0.5, 0.5)


def test_weights_count_draws_and_begin_with_the_sample():
    weights = resampling_weights(7, 1000, np.random.default_rng(0))
    assert weights.shape == (7, 1001)
    assert np.all(weights[:, 0] == 1)
    assert np.all(weights.sum(0) == 7)
    # Each count is binomial(7, 1/7): mean 1 and variance 6/7.
    assert weights[:, 1:].mean() == 1
    assert weights[:, 1:].var() == pytest.approx(6 / 7, rel=0.05)


def test_deviations_carry_the_small_sample_correction():
    found = deviations(np.array([0.3, 0.5, 0.2]), 5)
    factor = t.ppf(0.975, 4) / norm.ppf(0.975) * np.sqrt(5 / 4)
    assert found == pytest.approx(factor * np.array([0.2, -0.1]))


def test_the_mean_of_a_crossed_table_gets_its_textbook_standard_error():
    rng = np.random.default_rng(1)
    table = rng.normal(size=(40, 1)) + 0.3 * rng.normal(size=(1, 60)) + rng.normal(size=(40, 60))
    spread = []
    for means in (table.mean(1), table.mean(0)):
        weights = resampling_weights(means.size, 2000, rng)
        spread.append(deviations(means @ weights / means.size, means.size))
    found = crossed_interval(table.mean(), *spread, lowest=-9, highest=9)
    variance = table.mean(1).var(ddof=1) / 40 + table.mean(0).var(ddof=1) / 60
    half = t.ppf(0.975, 40) * np.sqrt(variance)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.06)


@given(finite, st.lists(finite, min_size=2, max_size=9), st.lists(finite, min_size=2, max_size=9))
def test_an_interval_contains_its_estimate_and_stays_in_range(value, models, examples):
    value += 0.5
    found = crossed_interval(value, np.array(models), np.array(examples))
    assert 0 <= found.low <= value <= found.high <= 1


def test_one_model_says_nothing_about_others():
    spread = deviations(np.array([0.5, 0.5, 0.5]), 1)
    assert crossed_interval(0.5, spread, np.zeros(3)) == Interval(0.5, 0.0, 1.0)


class Crossed:
    """Scores with effects of models and of examples, on the level and on the signal."""

    models, examples, signal = 16, 150, 1.0
    model_level, example_level, model_signal, example_signal = 0.3, 0.5, 0.3, 0.3

    def draw(self, rng):
        shape = (self.models, self.examples)
        by_model = rng.normal(size=(2, self.models, 1))
        by_example = rng.normal(size=(2, 1, self.examples))
        members = rng.random(shape) < 0.5
        level = self.model_level * by_model[0] + self.example_level * by_example[0]
        gain = self.signal + self.model_signal * by_model[1] + self.example_signal * by_example[1]
        return rng.normal(size=shape) + level + members * gain, members

    def truth(self):
        outside = np.sqrt(1 + self.model_level**2 + self.example_level**2)
        inside = np.sqrt(outside**2 + self.model_signal**2 + self.example_signal**2)
        cuts = np.linspace(-5, 5, 10_001)
        gap = norm.sf(cuts, self.signal, inside) - norm.sf(cuts, 0, outside)
        area = norm.cdf(self.signal / np.hypot(inside, outside))
        tail = norm.sf(norm.isf(0.01, 0, outside), self.signal, inside)
        return np.array([gap.max(), area, tail])


def test_intervals_cover_new_models_and_new_examples():
    world, experiments = Crossed(), 200
    truth = world.truth()
    covered, narrow = np.zeros(3), 0
    for experiment in range(experiments):
        rng = np.random.default_rng([7, experiment])
        scores, members = world.draw(rng)
        found = evaluate(scores, members, rng=rng, replicates=80)
        intervals = (found.advantage, found.auc, found.tpr_at_fpr_0_01)
        low, high = np.array([(interval.low, interval.high) for interval in intervals]).T
        covered += (low <= truth) & (truth <= high)
        # The same scores taken for independent ones: 2400 of them, Hanley & McNeil's variance.
        area = found.auc.value
        q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
        error = np.sqrt((area * (1 - area) + 1199 * (q1 + q2 - 2 * area**2)) / 1200**2)
        narrow += abs(area - truth[1]) <= 1.96 * error
    assert np.all(covered / experiments >= 0.90), covered / experiments
    assert narrow / experiments < 0.8, (
        "the experiment would not notice an interval that is too narrow"
    )


def test_intervals_shrink_with_the_data_and_are_not_needlessly_wide():
    """Without model or example effects the interval is at most sqrt(2) wider than it must be."""
    rng = np.random.default_rng(11)
    members = rng.random((40, 400)) < 0.5
    scores = rng.normal(size=members.shape) + members
    found = evaluate(scores, members, rng=rng).auc
    # Asymptotic standard error of the area for two independent samples of 8000.
    area = norm.cdf(1 / np.sqrt(2))
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    error = np.sqrt((area * (1 - area) + 7999 * (q1 + q2 - 2 * area**2)) / 8000**2)
    assert 1.0 < (found.high - found.low) / (2 * 1.96 * error) < 1.75


@given(st.floats(0.001, 0.999), st.floats(0.0005, 0.2), st.integers(0, 2**32))
def test_a_rate_has_limits_at_least_as_far_as_on_the_log_odds_scale(rate, error, seed):
    rng = np.random.default_rng(seed)
    models, examples = error * rng.normal(size=(2, 400))
    found = crossed_interval(rate, models, examples)
    spread = math.hypot(models.std(), examples.std()) / (rate * (1 - rate))
    odds = math.log(rate / (1 - rate))
    low, high = (1 / (1 + math.exp(-odds - sign * norm.ppf(0.975) * spread)) for sign in (-1, 1))
    assert found.low <= low + 1e-9
    assert found.high >= high - 1e-9
    sums = rate + np.quantile(np.add.outer(models, examples), (0.025, 0.975))
    assert found.low <= max(0, min(sums[0], rate)) + 1e-9
    assert found.high >= min(1, max(sums[1], rate)) - 1e-9
    mirrored = crossed_interval(1 - rate, -models, -examples)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high), abs=1e-9)


def test_other_numbers_than_rates_have_the_limits_of_the_bootstrap_alone():
    models, examples = np.random.default_rng(0).normal(size=(2, 400)) * 0.05
    found = crossed_interval(0.02, models, examples, lowest=-1.0)
    expected = 0.02 + np.quantile(np.add.outer(models, examples), (0.025, 0.975))
    assert (found.low, found.high) == pytest.approx(tuple(expected))
