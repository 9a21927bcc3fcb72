import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dpbench.metrics.roc import rank, roc
from dpbench.metrics.thresholds import best_threshold, decide, fold_curves


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_no_other_threshold_is_better_and_ties_take_the_highest(seed, levels):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, levels + 1, size=30).astype(float)
    members = rng.random(30) < 0.5
    members[:2] = [True, False]
    distinct = sorted(set(scores), reverse=True)
    inside, outside = scores[members], scores[~members]
    gains = {t: np.mean(inside >= t) - np.mean(outside >= t) for t in distinct}
    eligible = distinct[:-1] or distinct
    best = max(gains[t] for t in eligible)
    expected = next(t for t in eligible if gains[t] > best - 1e-12)
    assert best_threshold(roc(scores, members)) == expected


@given(hnp.arrays(bool, 20), hnp.arrays(bool, 20))
def test_a_binary_score_is_cut_between_its_values(scores, members):
    members[:2], scores[:2] = [True, False], [True, False]
    assert best_threshold(roc(scores.astype(float), members)) == 1


def test_a_constant_score_calls_everybody_a_member():
    assert best_threshold(roc(np.full(4, 0.3), np.array([True, False, True, False]))) == 0.3


def test_each_fold_uses_the_threshold_of_the_other():
    scores = np.array([[0.0, 1.0], [10.0, 11.0], [0.0, 1.0], [10.0, 11.0]])
    members = np.tile([False, True], (4, 1))
    curves = fold_curves(rank(scores, members), scores.shape[1])
    assert [best_threshold(curve) for curve in curves] == [1.0, 11.0]
    decided = decide(scores, np.arange(4), curves)
    # Even models never reach 11, odd models always reach 1.
    assert decided.tolist() == [[False, False], [True, True]] * 2
    assert decide(scores[[3, 0]], np.array([3, 0]), curves).tolist() == [[True] * 2, [False] * 2]
