"""Long et al.: who is isolated, and what happens to the crowd."""

import numpy as np
import pytest
from views import random_outputs, view_of

from dpbench.attacks.attack_r import AttackR
from dpbench.attacks.base import Access, NotApplicable
from dpbench.attacks.long import Long
from dpbench.testing import auc, check_attack, plant

ATTACKS = [Long(), Long(features="outputs"), Long(share=0.5)]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


def slow_isolated(features, share):
    points = len(features)

    def cosine(a, b):
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    distances = [
        min(1 - cosine(features[i], features[j]) for j in range(points) if j != i)
        for i in range(points)
    ]
    limit = sorted(distances, reverse=True)[int(np.ceil(share * points)) - 1]
    return {i for i, distance in enumerate(distances) if distance > limit - 1e-6}


@pytest.mark.parametrize("share", [0.1, 0.34])
def test_the_most_isolated_inputs_keep_their_rank_and_the_crowd_only_the_evidence_against(share):
    outputs, labels, members = random_outputs(1, 10, 30, 4)
    inputs = np.random.default_rng(2).standard_normal((30, 2, 3)).astype(np.float32)
    found = Long(share=share).score(view_of(outputs, labels, members, inputs=inputs))
    ranks = AttackR(smoothing="kernel").score(view_of(outputs, labels, members))
    isolated = slow_isolated(inputs.reshape(30, -1).astype(float), share)
    for i in range(30):
        expected = ranks[:, i] if i in isolated else np.minimum(ranks[:, i], 0)
        assert np.array_equal(found[:, i], expected)


def test_outputs_as_features_are_the_mean_log_scores_of_the_other_half_without_the_point():
    outputs, labels, members = random_outputs(3, 9, 25, 4)
    found = Long(features="outputs").score(view_of(outputs, labels, members))
    ranks = AttackR(smoothing="kernel").score(view_of(outputs, labels, members))
    for parity in (0, 1):
        half = [m for m in range(9) if m % 2 != parity]
        known = [[np.log(outputs[m, i]) for m in half if not members[m, i]] for i in range(25)]
        means = [np.mean(logs, axis=0) for logs in known if logs]
        features = np.array([np.mean(logs or means, axis=0) for logs in known])
        isolated = slow_isolated(features, 0.1)
        for t in range(parity, 9, 2):
            for i in range(25):
                expected = ranks[t, i] if i in isolated else min(ranks[t, i], 0)
                assert found[t, i] == expected


def test_where_only_isolated_points_leak_they_come_first():
    planted = plant(models=32, points=600, effect=3.0, seed=0)
    rng = np.random.default_rng(1)
    # A tenth of the points lie in directions of their own.
    inputs = np.ones((600, 70), np.float32) + 0.01 * rng.standard_normal((600, 70))
    alone = np.arange(600) < 60
    inputs[alone, :60] = 20 * np.eye(60)
    fresh = plant(models=32, points=600, effect=0.0, seed=0).target.outputs()
    outputs = np.where(alone[:, None], planted.target.outputs(), fresh)
    view = view_of(outputs, planted.target.labels, planted.members, inputs=inputs)
    scores = Long().score(view)
    assert auc(scores[:, alone], planted.members[:, alone]) > 0.9
    top = scores > np.quantile(scores[~planted.members], 0.999)
    assert top[:, ~alone].sum() == 0
    assert planted.members[top].mean() > 0.95


def test_a_population_without_lengths_or_neighbours_still_has_scores():
    outputs, labels, members = random_outputs(4, 6, 3, 3)
    scores = Long(share=1.0).score(view_of(outputs, labels, members))
    assert np.isfinite(scores).all()
    outputs, labels, members = random_outputs(4, 6, 1, 3)
    assert np.isfinite(Long().score(view_of(outputs, labels, members))).all()


def test_one_model_has_no_shadow():
    for attack in ATTACKS:
        with pytest.raises(NotApplicable, match="no shadow"):
            attack.score(view_of(*random_outputs(0, 1, 5, 3)))


def test_scores_alone_are_asked_for_once():
    planted = plant(models=6, points=20, effect=1.0, seed=2)
    for attack in ATTACKS:
        view = planted.view(access=Access.SCORE, budget=1)
        attack.score(view)
        assert view.target.queries == view.shadows.queries == 1
