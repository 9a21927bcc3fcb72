"""The network on sorted scores, against automatic differentiation and what it can see."""

import numpy as np
import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits as log_loss
from views import random_outputs, view_of

from dpbench.attacks import NotApplicable
from dpbench.attacks.base import Access
from dpbench.attacks.jia import Jia, gradients, start
from dpbench.testing import auc, check_attack, plant, standard_error


def test_contract():
    check_attack(Jia(epochs=2, batch=200))
    check_attack(Jia(epochs=1, batch=200, shadows=3))


def test_gradients_are_those_of_the_log_loss():
    rng = np.random.default_rng(0)
    inputs, bits = rng.random((9, 7)).astype(np.float32), rng.random(9) < 0.5
    layers = start(7, rng)
    leaves = [torch.tensor(part, requires_grad=True) for layer in layers for part in layer]
    hidden = torch.tensor(inputs)
    for weight, bias in zip(leaves[::2], leaves[1::2], strict=True):
        hidden = hidden.relu() if weight is not leaves[0] else hidden
        hidden = hidden @ weight + bias
    loss = log_loss(hidden[:, 0], torch.tensor(bits, dtype=torch.float32))
    expected = torch.autograd.grad(loss, leaves)
    found = [part for layer in gradients(layers, inputs, bits) for part in layer]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def confident_members(seed: int):
    rng = np.random.default_rng(seed)
    members = rng.random((4, 400)) < 0.5
    logits = rng.standard_normal((4, 400, 6)) * np.where(members, 5.0, 2.0)[..., None]
    scores = np.exp(logits)
    return scores / scores.sum(-1, keepdims=True), rng.integers(6, size=400), members


def test_it_sees_confidence_whatever_the_label_and_the_class():
    outputs, labels, members = confident_members(1)
    attack = Jia(epochs=30, learning_rate=0.2)
    scores = attack.score(view_of(outputs, labels, members))
    assert auc(scores, members) > 0.75
    # Its own decision is the one the paper reports.
    assert (scores > 0)[members].mean() - (scores > 0)[~members].mean() > 0.35
    other = np.random.default_rng(9).permuted(outputs, axis=-1)
    again = attack.score(view_of(other, labels[::-1], members))
    np.testing.assert_allclose(again, scores, rtol=1e-4, atol=1e-4)


def test_it_is_taught_by_the_first_shadows_of_the_other_half():
    outputs, labels, members = confident_members(2)
    attack = Jia(epochs=3)
    scores = attack.score(view_of(outputs, labels, members))
    changed = members.copy()
    changed[2:] = ~changed[2:]  # models 0 and 1 teach
    again = attack.score(view_of(outputs, labels, changed))
    np.testing.assert_array_equal(again, scores)
    more = Jia(epochs=3, shadows=2)
    assert not np.array_equal(more.score(view_of(outputs, labels, changed)), scores)


def test_one_model_has_no_shadow():
    outputs, labels, members = random_outputs(0, 1, 50, 3)
    with pytest.raises(NotApplicable, match="only one model"):
        Jia(epochs=1).score(view_of(outputs, labels, members))


def test_static_shadows_teach_what_the_target_no_longer_shows():
    planted = plant(models=8, points=400, effect=0.0, seed=2, shadows_effect=3.0)
    view = planted.view(access=Access.SCORE, budget=1)
    found = auc(Jia(epochs=20, learning_rate=0.1).score(view), planted.members)
    assert found == pytest.approx(0.5, abs=5 * standard_error(planted.members))
