"""Class-dependent thresholds: an example by hand, Song and Mittal's loop, and who teaches whom."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from views import random_outputs, view_of

from dpbench.attacks.base import NotApplicable
from dpbench.attacks.malt import Malt
from dpbench.attacks.modified_entropy import ModifiedEntropy
from dpbench.attacks.toolbox.class_thresholds import class_thresholds
from dpbench.testing import auc


def test_an_example_by_hand():
    labels = np.array([0, 0, 0, 0, 1, 1, 1])
    even = [0.9, 0.8, 0.3, 0.2, 0.6, 0.5, 0.1]
    odd = [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    scores = np.array([even, odd])
    members = np.array([[1, 0, 1, 0, 0, 1, 0], [1, 1, 0, 0, 1, 0, 0]], bool)
    taus = class_thresholds(scores, members, labels)
    # Odd: class 0 is cut below its members 0.7 and 0.6, class 1 below 0.3. It teaches model 0.
    assert taus[0].tolist() == [0.6] * 4 + [0.3] * 3
    # Even, class 0: TPR - FPR is 1/2 at 0.9, 0 at 0.8, 1/2 at 0.3: the highest of the best.
    # Class 1: -1/2 at 0.6, 1/2 at 0.5. It teaches model 1.
    assert taus[1].tolist() == [0.9] * 4 + [0.5] * 3
    decisions = (scores - taus) >= 0
    assert decisions[0].tolist() == [True, True, False, False, True, True, False]
    assert decisions[1].tolist() == [False] * 7


def balanced_accuracy(values, bits, threshold):
    return 0.5 * (np.mean(values[bits] >= threshold) + np.mean(values[~bits] < threshold))


@given(seed=st.integers(0, 10**6))
def test_thresholds_are_the_best_of_a_loop_over_the_other_half(seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.standard_normal((6, 30)).round(1), rng.integers(3, size=30)
    members = rng.random((6, 30)) < 0.5
    taus = class_thresholds(scores, members, labels)
    for t in range(6):
        others = [s for s in range(6) if s % 2 != t % 2]
        for label in np.unique(labels):
            own = labels == label
            values, bits = scores[others][:, own].ravel(), members[others][:, own].ravel()
            if bits.all() or not bits.any():
                continue
            # A threshold below all scores but the lowest is the last that decides anything.
            candidates = np.unique(values)[1:] if np.unique(values).size > 1 else values[:1]
            best = max(balanced_accuracy(values, bits, c) for c in candidates)
            tau = taus[t, own][0]
            assert (taus[t, own] == tau).all()
            assert balanced_accuracy(values, bits, tau) == pytest.approx(best, abs=1e-12)


@given(seed=st.integers(0, 10**6))
def test_one_threshold_on_the_score_is_the_class_dependent_rule(seed):
    outputs, labels, members = random_outputs(seed, 6, 40, 3)
    shifted = Malt(thresholds="per_class").score(view_of(outputs, labels, members))
    plain = Malt().score(view_of(outputs, labels, members))
    taus = class_thresholds(plain, members, labels)
    assert np.array_equal(shifted >= 0, plain >= taus)


@given(seed=st.integers(0, 10**6), changed=st.integers(0, 5))
def test_a_half_teaches_only_the_other(seed, changed):
    rng = np.random.default_rng(seed)
    scores, members = rng.standard_normal((6, 20)), rng.random((6, 20)) < 0.5
    labels = rng.integers(2, size=20)
    taus = class_thresholds(scores, members, labels)
    scores[changed], members[changed] = rng.standard_normal(20), rng.random(20) < 0.5
    other = class_thresholds(scores, members, labels)
    same_half = np.arange(6) % 2 == changed % 2
    assert np.array_equal(taus[same_half], other[same_half])


def test_a_static_attacker_learns_from_the_shadows():
    outputs, labels, members = random_outputs(1, 6, 40, 3)
    shadows = random_outputs(2, 6, 40, 3)[0]
    attack = Malt(thresholds="per_class")
    found = attack.score(view_of(outputs, labels, members, shadows))
    plain, of_shadows = (Malt().score(view_of(o, labels, members)) for o in (outputs, shadows))
    assert np.array_equal(found, plain - class_thresholds(of_shadows, members, labels))


def test_a_class_without_members_takes_the_threshold_of_all():
    scores = np.array([[0.9, 0.1, 0.5], [0.8, 0.2, 0.7]])
    members = np.array([[True, False, False], [True, False, False]])
    taus = class_thresholds(scores, members, np.array([0, 0, 1]))
    assert taus.tolist() == [[0.8, 0.8, 0.8], [0.9, 0.9, 0.9]]


@pytest.mark.parametrize("attack", [Malt(thresholds="per_class"), ModifiedEntropy()])
def test_too_few_shadows_are_refused(attack):
    with pytest.raises(NotApplicable, match="class thresholds need"):
        attack.score(view_of(*random_outputs(0, 1, 10, 3)))
    outputs, labels, _ = random_outputs(0, 4, 10, 3)
    with pytest.raises(NotApplicable, match="class thresholds need"):
        attack.score(view_of(outputs, labels, np.ones((4, 10), bool)))


def test_they_help_where_classes_differ_in_difficulty():
    rng = np.random.default_rng(3)
    labels, members = rng.integers(4, size=400), rng.random((16, 400)) < 0.5
    phi = 3.0 * labels + 1.5 * members + rng.standard_normal((16, 400))
    own = 1 / (1 + np.exp(-phi))
    outputs = np.repeat((1 - own)[..., None] / 3, 4, axis=2)
    outputs[:, np.arange(400), labels] = own
    view = view_of(outputs, labels, members)
    for kind in (Malt, ModifiedEntropy):
        plain = auc(kind(thresholds="global").score(view), members)
        assert auc(kind(thresholds="per_class").score(view), members) > plain + 0.02
