"""(epsilon, delta) alone: against the worst mechanism with that promise, spelled out."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpbench import privacy
from dpbench.errors import UserError
from dpbench.privacy import ApproximateDp

EPSILONS = st.floats(0.01, 10)
DELTAS = st.floats(0, 0.5)


def pair(epsilon: float, delta: float) -> tuple[np.ndarray, np.ndarray]:
    """Outcome probabilities of the worst mechanism, with and without the example."""
    large = math.exp(epsilon) / (1 + math.exp(epsilon))
    rest = [(1 - delta) * large, (1 - delta) * (1 - large)]
    return np.array([delta, *rest, 0.0]), np.array([0.0, *reversed(rest), delta])


@given(EPSILONS, DELTAS, st.floats(0, 12))
def test_the_hockey_stick_is_the_worst_mechanisms(epsilon, delta, at):
    p, q = pair(epsilon, delta)
    expected = np.maximum(p - math.exp(at) * q, 0).sum()
    assert privacy.delta(ApproximateDp(epsilon, delta), at) == pytest.approx(expected, abs=1e-9)


@given(EPSILONS, DELTAS)
def test_the_advantage_is_its_total_variation(epsilon, delta):
    p, q = pair(epsilon, delta)
    found = privacy.advantage(ApproximateDp(epsilon, delta))
    assert found == pytest.approx(np.abs(p - q).sum() / 2)
    assert found == pytest.approx((math.exp(epsilon) - 1 + 2 * delta) / (math.exp(epsilon) + 1))


@given(EPSILONS, DELTAS, st.floats(0, 0.9))
def test_epsilon_at_another_delta_inverts_the_hockey_stick(epsilon, delta, at):
    event = ApproximateDp(epsilon, delta)
    found = privacy.epsilon(event, at)
    if at < delta:
        assert found == math.inf
    else:
        assert privacy.delta(event, found) <= at + 1e-9
        assert found <= epsilon + 1e-12


@given(EPSILONS, DELTAS, st.floats(0, 1))
def test_the_trade_off_is_the_bound_of_the_pair(epsilon, delta, fpr):
    found = privacy.trade_off(ApproximateDp(epsilon, delta), fpr)
    assert found == pytest.approx(privacy.tpr_epsilon(fpr, epsilon, delta))


@pytest.mark.parametrize("epsilon", [50.0, 1000.0, 1e5])
def test_large_epsilons_stay_what_they_are(epsilon):
    event = ApproximateDp(epsilon, 1e-5)
    assert privacy.epsilon(event, 1e-5) == epsilon
    assert privacy.epsilon(event, 2e-5) == pytest.approx(epsilon, abs=1e-4)
    assert privacy.epsilon(event, 2e-5) <= epsilon
    assert privacy.delta(event, epsilon - 1) == pytest.approx(1 - math.exp(-1), abs=1e-4)
    assert privacy.advantage(event) == pytest.approx(1)
    assert privacy.trade_off(event, 0.0) == pytest.approx(1e-5)


def test_other_relations_are_refused():
    with pytest.raises(UserError, match="add/remove"):
        privacy.epsilon(ApproximateDp(1.0, 0.0), 0.0, adjacency="replace_one")
    with pytest.raises(UserError, match="epsilon"):
        ApproximateDp(-1.0)
