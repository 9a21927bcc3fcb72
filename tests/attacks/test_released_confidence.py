"""Statistics of released scores: accurate where 1 - p_y is not, finite where a score is 0."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp, softmax

from dpbench.attacks.toolbox.confidence import cross_entropy, logit

LABELS = np.array([2, 0, 1, 1])


def logits(seed, scale=3.0):
    return scale * np.random.default_rng(seed).standard_normal((5, 4, 3))


@given(seed=st.integers(0, 10**6), scale=st.floats(0.1, 8))
def test_both_equal_their_logit_forms(seed, scale):
    z = logits(seed, scale)
    outputs = softmax(z, axis=-1)
    for m in range(5):
        for i, y in enumerate(LABELS):
            others = [z[m, i, k] for k in range(3) if k != y]
            phi = z[m, i, y] - logsumexp(others)
            loss = -log_softmax(z[m, i])[y]
            assert logit(outputs, LABELS)[m, i] == pytest.approx(phi, rel=1e-9, abs=1e-9)
            assert cross_entropy(outputs, LABELS)[m, i] == pytest.approx(loss, rel=1e-9)


def test_scores_that_round_to_one_do_not_tie():
    rest = np.array([1e-9, 1e-12, 1e-20], dtype=np.float32)
    outputs = np.stack([np.ones_like(rest), rest], axis=-1)[None]
    assert (outputs[..., 0] == 1).all()
    labels = np.zeros(3, int)
    assert (np.diff(cross_entropy(outputs, labels)[0]) < 0).all()
    np.testing.assert_allclose(logit(outputs, labels)[0], [-math.log(r) for r in rest], rtol=1e-12)


def test_a_released_zero_is_finite_and_one_hot_takes_two_values():
    outputs = np.eye(3, dtype=np.float32)[[[2, 0, 1, 1], [2, 1, 0, 2]]]
    floor = -math.log(1e-45)
    np.testing.assert_allclose(logit(outputs, LABELS), [[floor] * 4, [floor] + [-floor] * 3])
    assert np.unique(cross_entropy(outputs, LABELS)).size == 2
    assert cross_entropy(outputs, LABELS).max() == pytest.approx(floor)


def test_scores_that_do_not_sum_to_one_are_compared_among_themselves():
    outputs = np.random.default_rng(0).random((5, 4, 3))
    np.testing.assert_allclose(logit(outputs / 7, LABELS), logit(outputs, LABELS), rtol=1e-12)
    np.testing.assert_allclose(
        cross_entropy(outputs / 7, LABELS), cross_entropy(outputs, LABELS), rtol=1e-12
    )


def test_outputs_are_not_written_to():
    outputs = softmax(logits(1), axis=-1)
    outputs.flags.writeable = False
    logit(outputs, LABELS)
    cross_entropy(outputs, LABELS)
