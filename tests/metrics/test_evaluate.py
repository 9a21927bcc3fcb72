import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpbench import metrics
from dpbench.metrics import evaluate
from dpbench.metrics.example_fpr import margins

COLUMNS = [
    name + suffix
    for name in ("advantage", "auc", "balanced_accuracy", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")
    for suffix in ("", "_low", "_high")
] + [
    "precision_at_fpr_0.01",
    "epsilon_lower",
    "tpr_at_example_fpr_0.01",
    "tpr_at_example_fpr_0.01_low",
    "tpr_at_example_fpr_0.01_high",
    "realised_example_fpr_0.01",
    "advantage_top_0.01",
    "advantage_top_0.01_low",
    "advantage_top_0.01_high",
    *(
        name.format(fpr)
        for fpr in ("0.01", "0.001")
        for name in (
            "tpr_at_shadow_fpr_{}",
            "tpr_at_shadow_fpr_{}_low",
            "tpr_at_shadow_fpr_{}_high",
            "realised_shadow_fpr_{}",
            "precision_at_shadow_fpr_{}_prior_0.01",
            "precision_at_shadow_fpr_{}_prior_0.1",
            "precision_at_shadow_fpr_{}_prior_0.5",
        )
    ),
]


def simulated(models=12, examples=200, signal=1.0, seed=0):
    rng = np.random.default_rng(seed)
    members = rng.random((models, examples)) < 0.5
    level = 0.3 * rng.normal(size=(models, 1)) + 0.5 * rng.normal(size=(1, examples))
    return rng.normal(size=members.shape) + level + signal * members, members


def run(scores, members, **options):
    return evaluate(scores, members, rng=np.random.default_rng(0), replicates=40, **options)


def numbers(found):
    """The row without what is unknown, for NaN equals nothing."""
    return {name: value for name, value in found.row().items() if not math.isnan(value)}


def naive_threshold(scores, members):
    """The cut with the largest TPR - FPR, the highest where several tie, never "everybody"."""
    best, chosen = -2.0, None
    for cut in sorted(set(scores.ravel()), reverse=True)[:-1]:
        gain = np.mean(scores[members] >= cut) - np.mean(scores[~members] >= cut)
        if gain > best + 1e-12:
            best, chosen = gain, cut
    return chosen


def naive_advantage(scores, members, source, bits, models):
    found, wrong, inside, outside = 0, 0, 0, 0
    cuts = [naive_threshold(source[1 - fold :: 2], bits[1 - fold :: 2]) for fold in (0, 1)]
    for model in models:
        called = scores[model] >= cuts[model % 2]
        found += np.sum(called & members[model])
        wrong += np.sum(called & ~members[model])
        inside += np.sum(members[model])
        outside += np.sum(~members[model])
    return found / inside - wrong / outside


@given(st.integers(0, 2**32), st.integers(0, 2))
def test_advantage_against_a_loop(seed, decimals):
    scores, members = simulated(models=6, examples=25, seed=seed)
    scores = np.round(scores, decimals)
    other = np.round(simulated(models=6, examples=25, seed=seed + 1)[0], decimals)
    models = [1, 4, 5]
    adaptive = run(scores, members).advantage.value
    assert adaptive == pytest.approx(naive_advantage(scores, members, scores, members, range(6)))
    half = run(scores, members, models=models).advantage.value
    assert half == pytest.approx(naive_advantage(scores, members, scores, members, models))
    static = run(scores, members, source_scores=other).advantage.value
    assert static == pytest.approx(naive_advantage(scores, members, other, members, range(6)))


@given(st.integers(0, 2**32), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_gap_attack_is_exactly_the_train_test_gap(seed, train, test):
    rng = np.random.default_rng(seed)
    members = rng.random((8, 50)) < 0.5
    correct = rng.random((8, 50)) < np.where(members, train, test)
    correct[:2, :2] = [[True, False], [False, True]]
    found = run(correct.astype(float), members)
    gap = correct[members].mean() - correct[~members].mean()
    assert found.advantage.value == pytest.approx(gap, abs=1e-15)
    assert found.balanced_accuracy.value == pytest.approx((1 + gap) / 2, abs=1e-15)
    # Its ROC curve is two segments, under which the area is the same number again.
    assert found.auc.value == pytest.approx((1 + gap) / 2, abs=1e-12)


def test_balanced_accuracy_is_the_mean_of_both_rates():
    scores, members = simulated()
    found = run(scores, members)
    assert found.balanced_accuracy == pytest.approx([(1 + x) / 2 for x in found.advantage])


def test_pooled_curve_of_the_reported_models():
    scores, members = simulated()
    found = run(scores, members, models=[0, 2, 3])
    curve = metrics.roc(scores[[0, 2, 3]], members[[0, 2, 3]])
    assert found.auc.value == metrics.auc(curve)
    assert found.tpr_at_fpr_0_01.value == metrics.tpr_at(curve, 0.01)
    assert found.precision_at_fpr_0_01 == metrics.precision_at(curve, 0.01)


def test_row_has_the_columns_of_the_attacks_table():
    found = run(*simulated(examples=500))
    row = found.row()
    assert list(row) == COLUMNS
    assert row["tpr_at_fpr_0.001_low"] == found.tpr_at_fpr_0_001.low
    assert row["epsilon_lower"] == found.epsilon_lower > 0
    assert all(type(value) is float for value in row.values())
    assert math.isnan(row["tpr_at_example_fpr_0.01"])
    assert math.isnan(row["realised_example_fpr_0.01"])
    assert row["advantage_top_0.01_low"] <= row["advantage_top_0.01"]


def test_scores_that_use_no_other_bits_say_more():
    scores, members = simulated(examples=500)
    usual, found = run(scores, members), run(scores, members, uses_other_bits=False)
    row = found.row()
    low, value, high = (row[f"tpr_at_example_fpr_0.01{end}"] for end in ("_low", "", "_high"))
    assert 0 < low < value < high < 1
    assert row["realised_example_fpr_0.01"] == pytest.approx(0.01, abs=0.006)
    assert found.epsilon_lower >= usual.epsilon_lower
    # Scores are compared with those of all models, reported or not.
    half = run(scores, members, uses_other_bits=False, models=[1, 3, 4, 8])
    beyond = margins(scores, members)[[1, 3, 4, 8]]
    expected = metrics.tpr_at(metrics.roc(beyond, members[[1, 3, 4, 8]]), 0.01)
    assert half.tpr_at_example_fpr_0_01.value == expected
    # Nothing else changes.
    assert found.advantage == usual.advantage
    assert found.advantage_top_0_01 == usual.advantage_top_0_01
    assert found.auc == usual.auc


@given(st.integers(0, 2**32), st.floats(0, 3), st.integers(2, 5), st.integers(2, 60))
def test_intervals_contain_estimates_whatever_the_sample(seed, signal, models, examples):
    scores, members = simulated(models, examples, signal, seed)
    members[:, 0], members[:, 1] = True, False
    found = run(scores, members)
    for interval in (found.advantage, found.auc, found.balanced_accuracy):
        assert interval.low <= interval.value <= interval.high
    assert found.epsilon_lower >= 0


def test_same_generator_same_numbers_and_order_of_examples_is_irrelevant():
    scores, members = simulated()
    first, second = (run(scores, members, uses_other_bits=False) for _ in range(2))
    assert first == second
    order = np.random.default_rng(1).permutation(scores.shape[1])
    shuffled = run(scores[:, order], members[:, order], uses_other_bits=False)
    assert shuffled.advantage.value == pytest.approx(first.advantage.value)
    assert shuffled.auc.value == first.auc.value
    assert shuffled.advantage_top_0_01.value == pytest.approx(first.advantage_top_0_01.value)
    assert shuffled.tpr_at_example_fpr_0_01.value == first.tpr_at_example_fpr_0_01.value


def test_monotone_transforms_change_nothing():
    scores, members = simulated(examples=600)
    assert numbers(run(np.exp(scores), members)) == numbers(run(scores, members))


def test_single_precision_gives_the_numbers_of_double_precision():
    scores, members = simulated()
    single = scores.astype(np.float32)
    double = run(single.astype(float), members, uses_other_bits=False)
    assert run(single, members, uses_other_bits=False) == double


def test_infinite_scores_are_ranked():
    scores, members = simulated()
    scores[0, 0], scores[1, 0] = np.inf, -np.inf
    assert 0 < run(scores, members).auc.value < 1


def test_a_perfect_attack():
    _, members = simulated(examples=2000)
    found = run(members.astype(float), members)
    assert found.advantage == found.auc == (1, 1, 1)
    assert found.tpr_at_fpr_0_001.value == found.precision_at_fpr_0_01 == 1


def test_rates_that_cannot_be_resolved_are_nan_and_said_so():
    scores, members = simulated(models=4, examples=100)
    found = run(scores, members)
    assert math.isnan(found.row()["tpr_at_fpr_0.001_high"])
    assert found.tpr_at_fpr_0_01.value >= 0
    assert found.notes == ("TPR at FPR 0.001 is not resolvable",)


def test_constant_score_is_half_the_area_with_a_note():
    _, members = simulated(examples=500)
    found = run(np.full(members.shape, 0.25), members)
    assert found.notes == ("constant score",)
    assert found.auc == (0.5, 0.5, 0.5)
    assert found.advantage == (0, 0, 0)
    assert found.epsilon_lower == 0


def test_one_reported_model_has_no_interval_for_others():
    scores, members = simulated()
    assert run(scores, members, models=[3]).auc[1:] == (0, 1)
    assert run(scores, members, models=[3]).advantage[1:] == (-1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, m: (np.where(m, np.nan, s), m), "NaN"),
        (lambda s, m: (s[:, :-1], m), "alike"),
        (lambda s, m: (s[0], m[0]), "alike"),
        (lambda s, m: (s, m.astype(int)), "bool"),
        (lambda s, m: (s[:1], m[:1]), "even or the odd"),
        (lambda s, m: (s, m | True), "no members or no non-members"),
    ],
)
def test_wrong_input_is_refused(change, message):
    scores, members = change(*simulated())
    with pytest.raises(ValueError, match=message):
        run(scores, members)


def test_reporting_a_model_without_non_members_is_refused():
    scores, members = simulated()
    members[4] = True
    with pytest.raises(ValueError, match="reported"):
        run(scores, members, models=[4])


def test_a_full_size_evaluation_stays_cheap():
    """A run makes hundreds of these; the bound is loose so that a busy machine passes."""
    scores, members = simulated(models=64, examples=5000)
    start = time.process_time()
    evaluate(scores, members, rng=np.random.default_rng(0))
    assert time.process_time() - start < 1.5
