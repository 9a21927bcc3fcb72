"""The privacy risk score against a loop over bins, and its histograms by hand."""

import math

import numpy as np
import pytest
from views import random_outputs, view_of

from dpbench.attacks.base import NotApplicable
from dpbench.attacks.privacy_risk_score import PrivacyRiskScore, risk
from dpbench.component import REGISTRIES
from dpbench.errors import UserError
from dpbench.testing import check_attack

ATTACKS = [PrivacyRiskScore(), PrivacyRiskScore(bins=15)]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


def slow_entropy(scores, label):
    terms = [
        (1 - p) * math.log(max(p, 1e-30)) if k == label else p * math.log(max(1 - p, 1e-30))
        for k, p in enumerate(scores)
    ]
    return max(-sum(terms), 1e-10)


def slow_risk(value, inside, outside, bins):
    everything = [math.log10(v) for v in inside + outside]
    low, high = min(everything), max(everything)

    def place(v):
        edge = 0
        for j in range(1, bins):
            if v >= 10 ** (low + j * (high - low) / bins):
                edge = j
        return edge

    h_in, h_out = [0.0] * bins, [0.0] * bins
    for group, histogram in ((inside, h_in), (outside, h_out)):
        for v in group:
            histogram[place(v)] += 1 / len(group)
    own = place(value)
    for distance in range(bins):
        for j in (own - distance, own + distance):
            if 0 <= j < bins and h_in[j] + h_out[j] > 0:
                return h_in[j] / (h_in[j] + h_out[j])
    raise AssertionError("both histograms are empty")


@pytest.mark.parametrize("bins", [2, 5, 12])
@pytest.mark.parametrize("static", [False, True])
def test_scores_are_those_of_a_loop(bins, static):
    outputs, labels, members = random_outputs(bins, 6, 60, 3)
    shadows = random_outputs(99, 6, 60, 3)[0] if static else outputs
    found = PrivacyRiskScore(bins=bins).score(view_of(outputs, labels, members, shadows))
    for t in range(6):
        others = [s for s in range(6) if s % 2 != t % 2]
        for i, y in enumerate(labels):
            groups = {True: [], False: []}
            for s in others:
                for j in range(60):
                    if labels[j] == y:
                        groups[bool(members[s, j])].append(slow_entropy(shadows[s, j], y))
            value = slow_entropy(outputs[t, i], y)
            expected = slow_risk(value, groups[True], groups[False], bins)
            assert found[t, i] == pytest.approx(expected, abs=1e-6)


def test_histograms_by_hand():
    # Four bins, one for each power of ten from 1e-4 to 1.
    shadows = np.array([1e-4, 2e-4, 5e-4, 3e-3, 5e-2, 1.0])
    members = np.array([1, 1, 0, 1, 0, 0], bool)
    observed = np.array([1e-9, 9e-4, 1e-3, 0.02, 0.5, 70.0])
    # In: 2/3, 1/3, 0, 0. Out: 1/3, 0, 1/3, 1/3.
    expected = [2 / 3, 2 / 3, 1.0, 0.0, 0.0, 0.0]
    np.testing.assert_allclose(risk(observed, shadows, members, bins=4), expected)


def test_an_empty_bin_takes_the_nearest_the_lower_one_first():
    shadows = np.array([1.0, 2.0, 1e5 / 2, 1e5])
    members = np.array([True, True, False, False])
    observed = np.array([1.5, 30.0, 300.0, 3000.0, 3e4])
    found = risk(observed, shadows, members, bins=5)
    # Bins 1 to 3 are empty; the middle one is as near to bin 0 as to bin 4.
    assert found.tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_equal_values_are_one_bin():
    shadows, members = np.full(6, 0.3), np.array([1, 1, 1, 0, 0, 0], bool)
    assert risk(np.array([0.1, 0.3, 0.7]), shadows, members, bins=5).tolist() == [0.5] * 3


def test_a_class_without_members_is_scored_as_all_classes():
    outputs, labels, members = random_outputs(3, 4, 40, 3)
    members[:, labels == 2] = False
    found = PrivacyRiskScore().score(view_of(outputs, labels, members))
    value = np.array(
        [[slow_entropy(outputs[m, i], labels[i]) for i in range(40)] for m in range(4)]
    )
    expected = risk(value[0], value[1::2], members[1::2], bins=5)
    assert np.array_equal(found[0, labels == 2], expected[labels == 2])


def test_too_few_shadows_are_refused():
    with pytest.raises(NotApplicable, match="histograms need"):
        PrivacyRiskScore().score(view_of(*random_outputs(0, 1, 10, 3)))
    outputs, labels, _ = random_outputs(0, 4, 10, 3)
    with pytest.raises(NotApplicable, match="histograms need"):
        PrivacyRiskScore().score(view_of(outputs, labels, np.zeros((4, 10), bool)))


def test_one_bin_is_no_histogram():
    with pytest.raises(UserError, match=r"attacks\.privacy_risk_score\.bins"):
        REGISTRIES["attack"]["privacy_risk_score"].parse(
            {"bins": 1}, where="attacks.privacy_risk_score"
        )
