"""Differences between cells that share bits and examples."""

import numpy as np
import pytest

from dpbench.metrics.intervals import resampling_weights
from dpbench.metrics.paired import (
    Draws,
    Resampling,
    combine,
    interval,
    models_needed,
    simultaneous,
)
from dpbench.metrics.roc import roc, tpr_at
from dpbench.metrics.thresholds import best_threshold

M, N, T, R = 12, 300, 50, 60
SIZE = {"models": M, "examples": N}


def resampling(seed=0):
    rng = np.random.default_rng(seed)
    return Resampling(models=M, examples=N, tests=T, rng=rng, replicates=R)


def weights(seed=0):
    rng = np.random.default_rng(seed)
    return [resampling_weights(units, R, rng) for units in (M, N, T)]


def game(seed=1, shift=1.0):
    rng = np.random.default_rng(seed)
    members = rng.random((M, N)) < 0.5
    return rng.normal(size=(M, N)) + shift * members, members


def minus(first, second):
    return first - second


def test_accuracy_is_that_of_the_drawn_models_or_examples():
    correct = np.random.default_rng(3).random((M, T)) < 0.7
    draws = resampling().accuracy(correct)
    by_model, _, by_test = weights()
    for replicate in range(R + 1):
        rows = np.repeat(correct, by_model[:, replicate].astype(int), axis=0)
        columns = np.repeat(correct, by_test[:, replicate].astype(int), axis=1)
        assert draws.models[replicate] == pytest.approx(rows.mean())
        assert draws.examples[replicate] == pytest.approx(columns.mean())
    assert draws.value == pytest.approx(correct.mean())


@pytest.mark.parametrize("fold", [0, 1])
def test_advantage_and_tpr_are_those_of_one_fold(fold):
    scores, members = game()
    rows = np.arange(fold, M, 2)
    advantage = resampling().advantage(scores, members, rows)
    _, tpr = resampling().curve(scores, members, rows, [0.01])
    cut, bits = best_threshold(roc(scores[1 - fold :: 2], members[1 - fold :: 2])), members[rows]
    called = scores[rows] >= cut
    assert advantage.value == pytest.approx(called[bits].mean() - called[~bits].mean())
    assert tpr.value == pytest.approx(tpr_at(roc(scores[rows], members[rows]), 0.01))


def test_replicates_of_an_advantage_are_counted():
    scores, members = game()
    rows = np.arange(0, M, 2)
    draws = resampling().advantage(scores, members, rows)
    by_model, by_example, _ = weights()
    curve = roc(scores[1::2], members[1::2])
    gains = (curve.tp / curve.positives - curve.fp / curve.negatives)[1:-1]
    cut = curve.thresholds[1:-1][np.argmax(gains)]
    for replicate in (1, 7, R):
        found = [0.0, 0.0]
        for axis, table in enumerate((by_model, by_example)):
            inside = outside = total_in = total_out = 0.0
            for row in rows:
                for column in range(N):
                    weight = table[row if axis == 0 else column, replicate]
                    said = scores[row, column] >= cut
                    if members[row, column]:
                        inside, total_in = inside + weight * said, total_in + weight
                    else:
                        outside, total_out = outside + weight * said, total_out + weight
            found[axis] = inside / total_in - outside / total_out
        assert draws.models[replicate] == pytest.approx(found[0], abs=1e-6)
        assert draws.examples[replicate] == pytest.approx(found[1], abs=1e-6)


def test_precision_among_the_highest_scores():
    scores, members = game()
    draws = resampling().top_precision(scores, members, 0.05)
    highest = np.argsort(scores, axis=None)[::-1][: round(0.05 * M * N)]
    named = np.isin(np.arange(M * N), highest).reshape(M, N)
    assert draws.value == pytest.approx(members[named].mean())
    by_model, by_example, _ = weights()
    for replicate in (0, 1, R):
        for found, table in (
            (draws.models[replicate], by_model[:, replicate][:, None] * named),
            (draws.examples[replicate], by_example[:, replicate][None] * named),
        ):
            assert found == pytest.approx((table * members).sum() / table.sum())


def test_all_that_tie_with_the_last_of_the_highest_count():
    scores, members = np.zeros((M, N)), np.ones((M, N), bool)
    scores[0, 0], members[1:] = 1, False
    found = resampling().top_precision(scores, members, 0.001)
    assert found.value == pytest.approx(1 / M)  # 4 of 3,600 are wanted, and 3,599 tie


def test_a_cell_does_not_differ_from_itself():
    scores, members = game()
    rows = np.arange(0, M, 2)
    both = [resampling().advantage(scores, members, rows) for _ in range(2)]
    assert interval(combine(minus, *both), **SIZE) == (0, 0, 0)


def test_what_cells_share_cancels():
    scores, members = game(shift=0.8)
    little = scores + 0.05 * np.random.default_rng(8).normal(size=scores.shape)
    rows = np.arange(0, M, 2)
    paired = combine(minus, *(resampling().advantage(x, members, rows) for x in (scores, little)))
    apart = combine(
        minus,
        resampling(0).advantage(scores, members, rows),
        resampling(99).advantage(little, members, rows),
    )
    widths = [np.ptp(interval(draws, **SIZE)[1:]) for draws in (paired, apart)]
    assert 3 * widths[0] < widths[1]


def normal(rng, value, models=0.1, examples=0.05, replicates=4000):
    return Draws(
        np.append(value, value + models * rng.normal(size=replicates)),
        np.append(value, value + examples * rng.normal(size=replicates)),
    )


def test_one_statistic_alone_is_two_standard_errors_wide():
    draws = normal(np.random.default_rng(0), 0.3, replicates=1500)
    (together,) = simultaneous([draws], models=10_000, examples=10_000)
    half = 1.96 * np.hypot(0.1, 0.05)
    assert together.high - 0.3 == pytest.approx(half, rel=0.06)
    assert 0.3 - together.low == pytest.approx(half, rel=0.06)


def test_many_statistics_are_wider_and_copies_are_not():
    rng = np.random.default_rng(1)
    family = [normal(rng, 0.0, replicates=300) for _ in range(10)]
    first, *_ = simultaneous(family, models=10_000, examples=10_000)
    (alone,) = simultaneous(family[:1], models=10_000, examples=10_000)
    copies = simultaneous(family[:1] * 10, models=10_000, examples=10_000)
    # Ten independent normals: the 95 % quantile of the largest is 2.80 deviations, of one 1.96.
    assert first.high / alone.high == pytest.approx(2.80 / 1.96, rel=0.1)
    assert copies[0].high == pytest.approx(alone.high)


def test_something_that_never_varies_widens_nothing():
    rng = np.random.default_rng(2)
    draws = normal(rng, 0.1, replicates=300)
    still = Draws(np.zeros(301), np.zeros(301))
    (alone,) = simultaneous([draws], **SIZE)
    both = simultaneous([draws, still], **SIZE)
    assert both[0] == pytest.approx(alone)
    assert both[1] == (0, 0, 0)


def test_models_needed_for_a_difference_in_closed_form():
    draws = normal(np.random.default_rng(3), 0.1, models=0.2, examples=0.0)
    # Four times in five: 2.8 standard errors of 0.2 sqrt(64 / models) are 0.1.
    needed = models_needed(draws, models=64, examples=10_000)
    assert needed == pytest.approx(64 * (2.8016 * 0.2 / 0.1) ** 2 * 64 / 63, rel=0.08)
    blurred = normal(np.random.default_rng(4), 0.1, models=0.2, examples=0.1)
    assert models_needed(blurred, models=64, examples=10_000) == float("inf")
