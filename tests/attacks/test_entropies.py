"""Maximum confidence, entropy and modified entropy against loops, and under masks."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy as scipy_entropy
from views import random_outputs, view_of

from dpbench.attacks.base import Access
from dpbench.attacks.entropy import Entropy, negative_entropy
from dpbench.attacks.gap import Gap
from dpbench.attacks.malt import Malt
from dpbench.attacks.max_confidence import MaxConfidence, largest_logit
from dpbench.attacks.modified_entropy import ModifiedEntropy, negative_modified_entropy
from dpbench.testing import auc, check_attack

KINDS = [Entropy, MaxConfidence, ModifiedEntropy, Malt]
ATTACKS = [kind(thresholds=thresholds) for kind in KINDS for thresholds in ("global", "per_class")]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_only_class_thresholds_need_shadows(attack):
    assert attack.needs_shadows == (attack.thresholds == "per_class")
    assert attack.access is Access.SCORE


def slow_modified_entropy(scores, label):
    total = 0.0
    for k, p in enumerate(scores):
        if k == label:
            total -= (1 - p) * math.log(max(p, 1e-30))
        else:
            total -= p * math.log(max(1 - p, 1e-30))
    return total


@pytest.mark.parametrize("classes", [2, 4, 30])
def test_scores_are_those_of_a_loop(classes):
    outputs, labels, members = random_outputs(0, 6, 50, classes)
    view = view_of(outputs, labels, members)
    entropy = Entropy(thresholds="global").score(view)
    modified = ModifiedEntropy(thresholds="global").score(view)
    largest = MaxConfidence().score(view)
    for t in range(6):
        for i, y in enumerate(labels):
            scores = [float(p) for p in outputs[t, i]]
            top = max(scores)
            assert entropy[t, i] == pytest.approx(-scipy_entropy(scores), abs=1e-9)
            assert modified[t, i] == pytest.approx(-slow_modified_entropy(scores, y), abs=1e-9)
            assert largest[t, i] == pytest.approx(math.log(top / (sum(scores) - top)), abs=1e-6)


@given(p=st.floats(1e-6, 1 - 1e-6))
def test_with_two_classes_the_modified_entropy_is_a_function_of_the_true_score(p):
    outputs = np.array([[[p, 1 - p]]])
    found = -negative_modified_entropy(outputs, np.array([0]))[0, 0]
    assert found == pytest.approx(-2 * (1 - p) * math.log(p), rel=1e-9)


@given(seed=st.integers(0, 10**6), share=st.floats(0.05, 0.95), other=st.integers(1, 3))
def test_moving_mass_to_the_true_class_always_speaks_for_membership(seed, share, other):
    before = np.random.default_rng(seed).dirichlet(np.ones(4))
    after = before.copy()
    after[[0, other]] += np.array([1, -1]) * share * before[other]
    label = np.array([0])
    scores = [negative_modified_entropy(p[None, None], label)[0, 0] for p in (before, after)]
    assert scores[1] > scores[0]
    # The plain entropy does not know which class is the true one.
    swapped = after[[other, *(k for k in range(4) if k not in (0, other)), 0]]
    np.testing.assert_allclose(*(negative_entropy(p[None, None], label) for p in (after, swapped)))


def test_one_hot_releases_leave_correctness_or_nothing():
    outputs, labels, members = random_outputs(1, 8, 40, 5)
    one_hot = np.eye(5, dtype=np.float32)[outputs.argmax(-1)]
    view = view_of(one_hot, labels, members)
    modified = ModifiedEntropy(thresholds="global").score(view)
    np.testing.assert_allclose(np.unique(modified), [2 * math.log(1e-30), 0], atol=1e-30)
    assert auc(modified, members) == auc(Gap().score(view), members)
    assert np.unique(Entropy(thresholds="global").score(view)).tolist() == [0.0]
    assert np.unique(MaxConfidence().score(view)).size == 1


def test_scores_that_round_to_one_do_not_tie():
    rest = np.array([1e-9, 1e-12, 1e-15], dtype=np.float32)
    outputs = np.stack([np.ones_like(rest), rest], axis=-1)[None]
    assert (outputs[..., 0] == 1).all()
    labels = np.zeros(3, int)
    for statistic in (largest_logit, negative_entropy, negative_modified_entropy):
        assert (np.diff(statistic(outputs, labels)[0]) > 0).all()
    np.testing.assert_allclose(
        negative_modified_entropy(outputs, labels)[0], -2 * rest.astype(float) ** 2, rtol=1e-6
    )


def test_the_largest_score_counts_whatever_the_label():
    outputs = random_outputs(2, 4, 20, 3)[0]
    right, wrong = (largest_logit(outputs, np.full(20, y)) for y in (0, 1))
    assert np.array_equal(right, wrong)


def test_outputs_are_not_written_to():
    outputs, labels, _ = random_outputs(3, 4, 20, 3)
    outputs.flags.writeable = False
    for statistic in (largest_logit, negative_entropy, negative_modified_entropy):
        statistic(outputs, labels)
