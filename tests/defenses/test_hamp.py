"""HAMP's training: the entropy of its labels, the published loss, and what models learn from it."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from dpbench.defenses import Hamp
from dpbench.defenses.hamp import soft_label
from dpbench.testing import check_defense
from dpbench.training.recipe import Recipe
from tests.defenses.memorising import CLASSES, member_logits, memorising_task


def entropy(probabilities: torch.Tensor) -> torch.Tensor:
    return torch.special.entr(probabilities).sum(-1)


def batch(n_classes: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(40, n_classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(n_classes, (40,), generator=generator)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.95, 0.9999])
def test_keeps_its_contract(gamma):
    check_defense(Hamp(gamma=gamma, alpha=0.01))


@given(st.floats(0, 0.9999), st.integers(2, 100))
def test_labels_have_the_entropy_asked_for(gamma, n_classes):
    own, other = soft_label(gamma, n_classes)
    label = torch.tensor([own] + [other] * (n_classes - 1), dtype=torch.float64)
    assert float(label.sum()) == pytest.approx(1)
    assert own > other
    assert float(entropy(label)) == pytest.approx(gamma * math.log(n_classes), abs=1e-9)


def test_two_classes_by_the_binary_entropy():
    own, other = soft_label(0.5, 2)
    # h2(p) = 1/2 bit at p = 0.110028 (tables of the binary entropy function).
    assert other == pytest.approx(0.110028, abs=1e-6)
    assert own == pytest.approx(1 - 0.110028, abs=1e-6)


@pytest.mark.parametrize(("gamma", "n_classes"), [(0.95, 10), (0.8, 100), (0.5, 30)])
def test_labels_are_within_a_step_of_the_published_search(gamma, n_classes):
    label = torch.zeros(n_classes, dtype=torch.float64)
    label[1] = 1.0
    while entropy(label) < gamma * math.log(n_classes):
        label += 0.01 / (n_classes - 1)
        label[1] -= 0.01 + 0.01 / (n_classes - 1)
    own, _ = soft_label(gamma, n_classes)
    assert 0 <= own - float(label[1]) <= 0.01


@pytest.mark.parametrize("alpha", [0.0, 0.001, 0.2])
@pytest.mark.parametrize("gamma", [0.3, 0.95])
def test_loss_is_the_released_one_times_the_classes(gamma, alpha):
    logits, targets = batch()
    n_classes = logits.shape[1]
    own, other = soft_label(gamma, n_classes)
    soft = torch.full_like(logits, other).scatter(1, targets[:, None], own)
    divergence = functional.kl_div(logits.log_softmax(1), soft, reduction="none")
    released = divergence.mean(1) - alpha * entropy(logits.softmax(1))
    ours = Hamp(gamma=gamma, alpha=alpha).loss(logits, targets)
    assert torch.allclose(ours, n_classes * released, atol=1e-9)


def test_no_entropy_is_cross_entropy():
    logits, targets = batch()
    plain = functional.cross_entropy(logits, targets, reduction="none")
    assert torch.allclose(Hamp(gamma=0.0, alpha=0.0).loss(logits, targets), plain, atol=1e-9)


@given(st.floats(0.01, 0.99))
def test_without_reward_the_soft_label_is_the_best_prediction(gamma):
    own, other = soft_label(gamma, 6)
    targets = torch.arange(6)
    best = torch.full((6, 6), other, dtype=torch.float64).fill_diagonal_(own).log()
    best.requires_grad_()
    losses = Hamp(gamma=gamma, alpha=0.0).loss(best, targets)
    (slope,) = torch.autograd.grad(losses.sum(), best)
    assert torch.allclose(losses, torch.zeros_like(losses), atol=1e-9)
    assert torch.allclose(slope, torch.zeros_like(slope), atol=1e-9)


def test_soft_targets_mix_the_losses_of_their_classes():
    logits, _ = batch()
    mixed = torch.tensor([0.7, 0.3, 0, 0, 0, 0], dtype=torch.float64).expand_as(logits)
    defense, ones = Hamp(gamma=0.6, alpha=0.0), torch.zeros(len(logits), dtype=torch.int64)
    expected = 0.7 * defense.loss(logits, ones) + 0.3 * defense.loss(logits, ones + 1)
    assert torch.allclose(defense.loss(logits, mixed), expected)


def test_members_entropy_rises_to_its_target():
    recipe, most = Recipe(epochs=150, batch_size=20, lr=0.3, momentum=0.9), math.log(CLASSES)
    found = []
    for defense in (None, Hamp(gamma=0.5, alpha=0.0), Hamp(gamma=0.8, alpha=0.0)):
        pairs = member_logits(memorising_task(defense, recipe))
        found.append(float(entropy(torch.cat([z for z, _ in pairs]).softmax(-1)).mean()) / most)
    assert found[0] < 0.05
    assert found[1:] == pytest.approx([0.5, 0.8], abs=0.05)


def test_the_reward_raises_entropy_above_the_labels():
    recipe = Recipe(epochs=100, batch_size=20, lr=0.3, momentum=0.9)
    means = []
    for alpha in (0.0, 0.1, 0.2):
        pairs = member_logits(memorising_task(Hamp(gamma=0.5, alpha=alpha), recipe))
        means.append(float(entropy(torch.cat([z for z, _ in pairs]).softmax(-1)).mean()))
    assert means[0] + 0.05 < means[1] < means[2] - 0.05
