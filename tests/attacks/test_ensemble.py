"""The combination of attacks: normal scores, weights, and what is gained and not gained."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from dpbench.attacks.ensemble import combination, normal_scores
from dpbench.testing import auc


@given(st.integers(0, 2**32 - 1))
def test_normal_scores_keep_the_order_and_the_ties(seed):
    rng = np.random.default_rng(seed)
    scores = rng.standard_cauchy(300).round(1)
    ranked = normal_scores(scores, scores)
    order = np.argsort(scores, kind="stable")
    assert (np.diff(ranked[order]) >= 0).all()
    assert np.abs(ranked).max() <= 4.5
    for value in scores[:20]:
        assert len(set(ranked[scores == value])) == 1


def test_normal_scores_are_the_quantiles_of_the_ranks():
    values = np.random.default_rng(0).standard_cauchy(50_000)
    expected = norm.ppf((rankdata(values) - 0.5) / values.size)
    inner = np.abs(expected) < 3
    np.testing.assert_allclose(normal_scores(values, values)[inner], expected[inner], atol=0.03)


def test_two_independent_halves_of_the_evidence_add_up():
    rng = np.random.default_rng(1)
    members = rng.random((30, 1000)) < 0.5
    raw = rng.standard_normal((3, 30, 1000)) + np.array([1.0, 1.0, 0.0])[:, None, None] * members
    ranked = np.stack([normal_scores(np.exp(3 * one), np.exp(3 * one)) for one in raw])
    weights = combination(ranked[:, ::2], members[::2])
    combined = weights[0] + np.tensordot(weights[1:], ranked[:, 1::2], 1)
    # Two unit shifts together are one of sqrt(2); the third attack is noise and gets no weight.
    assert auc(combined, members[1::2]) == pytest.approx(norm.cdf(1.0), abs=0.01)
    assert abs(weights[3]) < 0.05
    assert weights[1] == pytest.approx(weights[2], rel=0.1)
