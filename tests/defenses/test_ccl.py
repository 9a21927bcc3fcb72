"""Convex-concave loss: closed forms, its gradient, and the spread of losses it is made for."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from dpbench.defenses import ConvexConcaveLoss
from dpbench.testing import check_defense
from tests.defenses.memorising import member_losses, memorising_task

FORMS = ["exponential", "quadratic"]


def loss_of(probability: float, **fields) -> float:
    """The loss where the true one of two classes has this probability."""
    logits = torch.tensor([math.log(probability), math.log1p(-probability)], dtype=torch.float64)
    return float(ConvexConcaveLoss(**fields).loss(logits, torch.tensor(0)))


@pytest.mark.parametrize("concave", FORMS)
@pytest.mark.parametrize("alpha", [0.0, 0.1, 0.5, 1.0])
def test_keeps_its_contract(alpha, concave):
    check_defense(ConvexConcaveLoss(alpha=alpha, concave=concave))


@given(st.floats(0.01, 0.99), st.floats(0, 1))
def test_closed_forms(probability, alpha):
    convex = -alpha * math.log(probability)
    found = loss_of(probability, alpha=alpha, concave="exponential")
    assert found == pytest.approx(convex - (1 - alpha) * math.exp(probability))
    found = loss_of(probability, alpha=alpha, concave="quadratic")
    assert found == pytest.approx(convex - (1 - alpha) * (probability + probability**2 / 2))


@pytest.mark.parametrize("concave", FORMS)
@given(low=st.floats(0.02, 0.4), width=st.floats(0.05, 0.5))
def test_the_second_term_falls_and_is_concave(concave, low, width):
    ends = [loss_of(at, alpha=0.0, concave=concave) for at in (low, low + width)]
    middle = loss_of(low + width / 2, alpha=0.0, concave=concave)
    assert ends[0] > middle > ends[1]
    assert middle > sum(ends) / 2


def test_all_weight_on_the_convex_term_is_cross_entropy():
    logits = torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    targets = torch.arange(20) % 6
    plain = functional.cross_entropy(logits, targets, reduction="none")
    assert torch.allclose(ConvexConcaveLoss(alpha=1.0).loss(logits, targets), plain)


@pytest.mark.parametrize("concave", FORMS)
def test_gradient_is_that_of_cross_entropy_times_a_factor(concave):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(20, 6, generator=generator, dtype=torch.float64).requires_grad_()
    targets, alpha = torch.arange(20) % 6, 0.3
    losses = ConvexConcaveLoss(alpha=alpha, concave=concave).loss(logits, targets)
    (ours,) = torch.autograd.grad(losses.sum(), logits)
    probabilities = logits.detach().softmax(-1)
    true = probabilities.gather(-1, targets[:, None])
    falling = true.exp() if concave == "exponential" else 1 + true
    factor = alpha + (1 - alpha) * true * falling
    expected = factor * (probabilities - functional.one_hot(targets, 6))
    assert torch.allclose(ours, expected)


@pytest.mark.parametrize("concave", FORMS)
def test_members_losses_spread(concave):
    def spread(defense):
        return float(torch.cat(member_losses(memorising_task(defense))).var())

    plain = spread(None)
    some = spread(ConvexConcaveLoss(alpha=0.1, concave=concave))
    most = spread(ConvexConcaveLoss(alpha=0.0, concave=concave))
    assert 10 * plain < some < most
