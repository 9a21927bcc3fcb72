import math

import numpy as np
import pytest

from dpbench.metrics import auc, roc, tpr_at
from dpbench.metrics.evaluate import evaluate
from dpbench.metrics.strength import METRICS, chosen_by, strengths, strongest


def game(seed=0, models=16, examples=400):
    rng = np.random.default_rng(seed)
    members = rng.random((models, examples)) < 0.5
    return rng.normal(size=members.shape) + members, members


def test_strengths_against_the_curve():
    scores, members = game()
    found = strengths(scores, members)
    curve = roc(scores, members)
    assert list(found) == list(METRICS)
    assert found["auc"] == auc(curve)
    assert found["tpr_at_fpr_0.001"] == tpr_at(curve, 0.001)
    gaps = [np.mean(scores[members] >= c) - np.mean(scores[~members] >= c) for c in scores.flat]
    assert found["advantage"] == pytest.approx(max(gaps))
    assert math.isnan(found["tpr_at_example_fpr_0.01"])
    assert not math.isnan(
        strengths(scores, members, uses_other_bits=False)["tpr_at_example_fpr_0.01"]
    )


def test_examples_chosen_and_measured_on_the_same_models_would_be_luck():
    rng = np.random.default_rng(1)
    values = []
    for _ in range(30):
        members = rng.random((16, 400)) < 0.5
        found = strengths(rng.normal(size=members.shape), members, metrics=["advantage_top_0.01"])
        values.append(found["advantage_top_0.01"])
    assert abs(np.mean(values)) < 3 * np.std(values) / math.sqrt(30)


def test_one_attack_wins_by_advantage_and_another_at_a_low_false_positive_rate():
    """The first ranks everybody a little, the second finds one member in twenty for sure."""
    rng = np.random.default_rng(2)
    members = rng.random((16, 1000)) < 0.5
    everybody = rng.normal(size=members.shape) + 0.8 * members
    few = rng.normal(size=members.shape) + 20 * (members & (rng.random(members.shape) < 0.05))
    winners = strongest({3: strengths(everybody, members), 7: strengths(few, members)})
    assert winners["advantage"] == winners["auc"] == 3
    assert winners["tpr_at_fpr_0.001"] == winners["tpr_at_fpr_0.01"] == 7
    # Neither can be told by this metric: the winner by advantage stands in.
    assert winners["tpr_at_example_fpr_0.01"] == 3


def test_the_first_of_equals_wins_and_what_is_unknown_never_does():
    known = {"advantage": 0.1, "auc": 0.5}
    assert strongest({5: known, 2: known}) == {"advantage": 5, "auc": 5}
    assert strongest({5: known | {"auc": math.nan}, 2: known})["auc"] == 2


def test_every_number_of_a_row_is_of_one_winner():
    scores, members = game()
    for column in evaluate(scores, members, rng=np.random.default_rng(0), replicates=2).row():
        assert chosen_by(column) in METRICS, column
    assert chosen_by("precision_at_shadow_fpr_0.001_prior_0.5") == "tpr_at_fpr_0.001"
    assert chosen_by("tpr_at_shadow_fpr_0.01_low") == "tpr_at_fpr_0.01"
    assert chosen_by("realised_example_fpr_0.01") == "tpr_at_example_fpr_0.01"
    assert chosen_by("balanced_accuracy_high") == "advantage"
    assert chosen_by("seconds") is None


def test_a_threshold_that_does_not_carry_over_makes_an_attack_weak():
    scores, members = game()
    assert strengths(scores, members, source=scores + 10)["advantage"] == 0
    half = strengths(scores, members, source=scores + 0.7)["advantage"]
    assert 0 < half < strengths(scores, members)["advantage"]
    assert strengths(scores, members, source=scores + 10)["auc"] == auc(roc(scores, members))
