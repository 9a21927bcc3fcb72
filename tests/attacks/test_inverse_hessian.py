"""The inverse-Hessian attack against a slow one that forms every gradient, and on real models."""

import dataclasses

import numpy as np
import pytest
from scipy.special import softmax
from views import random_outputs, view_of

from dpbench.attacks import Access, InverseHessian, NotApplicable, Oracle
from dpbench.testing import auc, check_attack, plant


def test_contract():
    check_attack(InverseHessian())


def shown(features, logits, labels, members, attack):
    class Box:
        linear, has_head = False, True

        def features(self, of):
            assert of == "challenge"
            return features

        def logits(self):
            return logits

    oracle = Oracle(
        access=Access.WHITE_BOX,
        budget=attack.budget,
        pool_outputs=lambda: logits,
        query=lambda x: logits,
        white_box=Box(),
    )
    return dataclasses.replace(view_of(logits, labels, members), target=oracle)


def random_world(seed, models, points, classes, width):
    rng = np.random.default_rng(seed)
    _, labels, members = random_outputs(seed, models, points, classes)
    features = rng.standard_normal((models, points, width)).astype(np.float32)
    return features, rng.standard_normal((models, points, classes)), labels, members


def slow(features, logits, labels, bits, attack):
    """One model: the whole Hessian of all C (h + 1) weights, point by point."""
    points, classes = logits.shape
    inputs = np.column_stack([features, np.ones(points)]).astype(float)
    p = softmax(logits, axis=1)
    gradients = [np.kron(p[i] - np.eye(classes)[labels[i]], inputs[i]) for i in range(points)]
    hessian = attack.damping * np.eye(classes * inputs.shape[1])
    for i in range(points):
        curvature = np.diag(p[i]) - np.outer(p[i], p[i])
        hessian += np.kron(curvature, np.outer(inputs[i], inputs[i])) / points
    moves = [np.linalg.solve(hessian, g) for g in gradients]
    scores = []
    for i in range(points):
        others = [j for j in range(points) if j != i and bits[j]]
        mean = np.mean([gradients[j] for j in others], axis=0) if others else 0 * gradients[0]
        shift = moves[i] @ moves[i] / (len(others) + 1)
        shift += 2 * np.linalg.solve(hessian, mean) @ moves[i]
        loss = -np.log(p[i, labels[i]])
        scores.append(loss / (1 + attack.momentum) - shift / attack.learning_rate)
    return scores


@pytest.mark.parametrize(
    "attack", [InverseHessian(), InverseHessian(damping=0.01, momentum=0.0, learning_rate=0.3)]
)
@pytest.mark.parametrize("size", [(30, 3, 4), (12, 2, 5), (6, 4, 9), (1, 3, 2)])
def test_scores_are_those_of_the_whole_hessian(attack, size):
    points, classes, width = size
    world = random_world(points, 2, points, classes, width)
    features, logits, labels, members = world
    found = attack.score(shown(*world, attack))
    for model in range(2):
        expected = slow(features[model], logits[model], labels, members[model], attack)
        # Single precision; terms of the size of the largest score cancel in the others.
        largest = np.abs(expected).max()
        np.testing.assert_allclose(found[model], expected, rtol=2e-5, atol=2e-6 * largest)


def test_shared_features_are_decomposed_once_and_give_the_same():
    features, logits, labels, members = random_world(1, 3, 10, 3, 4)
    attack = InverseHessian()
    alike = np.broadcast_to(features[:1], features.shape)
    found = attack.score(shown(alike, logits, labels, members, attack))
    copied = attack.score(shown(alike.copy(), logits, labels, members, attack))
    assert np.array_equal(found, copied)


def test_a_score_is_exactly_independent_of_its_own_bit_and_not_of_others():
    world = random_world(2, 1, 40, 3, 5)
    attack = InverseHessian()
    scores = attack.score(shown(*world, attack))[0]
    for point in range(40):
        members = world[3].copy()
        members[0, point] ^= True
        changed = attack.score(shown(*world[:3], members, attack))[0]
        assert changed[point] == scores[point]
        assert np.count_nonzero(changed != scores) == 39


def test_it_finds_members_of_overfitted_softmax_regression():
    # Full-batch descent to the penalised minimum: the gradients of all members cancel.
    rng = np.random.default_rng(3)
    points, width, classes = 120, 30, 3
    inputs = rng.standard_normal((points, width)).astype(np.float32)
    labels = rng.integers(classes, size=points)
    members = rng.random((6, points)) < 0.5
    full = np.column_stack([inputs, np.ones(points)])
    logits = []
    for bits in members:
        weights, x, own = np.zeros((classes, width + 1)), full[bits], np.eye(classes)[labels[bits]]
        for _ in range(400):
            weights -= 0.3 * (softmax(x @ weights.T, axis=1) - own).T @ x / len(x)
        logits.append(full @ weights.T)
    logits = np.array(logits)
    attack = InverseHessian()
    features = np.broadcast_to(inputs, (6, points, width))
    scores = attack.score(shown(features, logits, labels, members, attack))
    losses = -np.log(softmax(logits, axis=2))[:, np.arange(points), labels]
    assert auc(scores, members) > 0.95
    assert auc(scores, members) > auc(-losses, members) + 0.02


def test_large_layers_are_refused():
    planted = plant(models=2, points=30, effect=1.0, seed=0, n_classes=3)
    view = planted.view(access=Access.WHITE_BOX)
    with pytest.raises(NotApplicable, match="60 parameters, the limit is 59"):
        InverseHessian(most_parameters=59).score(view)
    assert InverseHessian(most_parameters=60).score(view).shape == (2, 30)
