"""RelaxLoss: the branches of the published code, one by one, and the loss level it holds."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from dpbench.defenses import RelaxLoss
from dpbench.testing import check_defense
from dpbench.training.recipe import Sampling
from dpbench.training.task import Setting, Step
from tests.defenses.memorising import member_losses, memorising_task, trained

K, B, C, PER_EPOCH = 3, 16, 5, 4.0
FIRST_OF_EPOCH = {"even": 1, "odd": 5}


def setting() -> Setting:
    task = memorising_task()
    sampling = Sampling(rate=1 / PER_EPOCH, steps=8, batch=B, steps_per_epoch=PER_EPOCH)
    return Setting(K, C, sampling, task.data, task.members[:K], lambda x: x, torch.Generator())


def batch(seed: int, scale: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(K, B, C, generator=generator)
    return logits, torch.randint(C, (K, B), generator=generator)


def gradient(defense: RelaxLoss, logits, targets, number: int):
    leaf = logits.clone().requires_grad_()
    losses = defense.objective(setting())(Step(leaf, targets, number))
    (slope,) = torch.autograd.grad(losses.mean(-1).sum(), leaf)
    return losses.detach(), slope


def published(defense: RelaxLoss, logits, targets, number: int):
    """The loss of the released code, for one model and with its soft labels held constant."""
    full = functional.cross_entropy(logits, targets, reduction="none")
    mean = full.mean()
    epoch = (number - 1) // int(PER_EPOCH)
    if epoch % 2 == 0:
        return (mean - defense.alpha).abs()
    if mean > defense.alpha:
        return mean
    probabilities = logits.detach().softmax(1)
    soft = torch.empty_like(probabilities)
    for row, label in enumerate(targets.tolist()):
        confidence = min(float(probabilities[row, label]), defense.upper)
        soft[row] = (1 - confidence) / (C - 1)
        soft[row, label] = confidence
    correct = (logits.argmax(1) == targets).float()
    return ((1 - correct) * functional.cross_entropy(logits, soft, reduction="none") - full).mean()


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_keeps_its_contract(alpha):
    check_defense(RelaxLoss(alpha=alpha, upper=0.3))


@pytest.mark.parametrize("upper", [1.0, 0.3])
@pytest.mark.parametrize("number", [1, 4, 5, 8, 9])
@pytest.mark.parametrize("alpha", [0.1, 2.4, 30.0])
def test_equals_the_published_branches(alpha, number, upper):
    defense = RelaxLoss(alpha=alpha, upper=upper)
    logits, targets = batch(seed=number)
    _, ours = gradient(defense, logits, targets, number)
    for model in range(K):
        leaf = logits[model].clone().requires_grad_()
        loss = published(defense, leaf, targets[model], number)
        (theirs,) = torch.autograd.grad(loss, leaf)
        assert torch.allclose(ours[model], theirs, atol=1e-6)


def test_each_model_is_held_by_its_own_mean():
    logits, targets = batch(seed=0)
    logits[0] = 5 * functional.one_hot(targets[0], C)
    _, slope = gradient(RelaxLoss(alpha=1.0), logits, targets, FIRST_OF_EPOCH["even"])
    true = slope.gather(-1, targets[..., None])
    assert (true[0] > 0).all(), "below the level, the true class is pushed down"
    assert (true[1:] < 0).all(), "above it, up"


@pytest.mark.parametrize("epoch", ["even", "odd"])
def test_level_zero_is_plain_training(epoch):
    logits, targets = batch(seed=1)
    losses, _ = gradient(RelaxLoss(alpha=0.0), logits, targets, FIRST_OF_EPOCH[epoch])
    plain = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    assert torch.allclose(losses.flatten(), plain)


@given(st.permutations(range(B)), st.sampled_from([1, 5]), st.floats(0, 3))
@settings(max_examples=25, deadline=None)
def test_order_within_a_batch_does_not_matter(order, number, alpha):
    logits, targets = batch(seed=2)
    defense = RelaxLoss(alpha=alpha)
    losses, slope = gradient(defense, logits, targets, number)
    others, other_slope = gradient(defense, logits[:, order], targets[:, order], number)
    assert torch.allclose(losses[:, order], others, atol=1e-5)
    assert torch.allclose(slope[:, order], other_slope, atol=1e-6)


def test_soft_targets_that_are_one_hot_change_nothing():
    logits, targets = batch(seed=3)
    soft = functional.one_hot(targets, C).float()
    for number in FIRST_OF_EPOCH.values():
        defense = RelaxLoss(alpha=3.0, upper=0.5)
        hard_losses, _ = gradient(defense, logits, targets, number)
        soft_losses, _ = gradient(defense, logits, soft, number)
        assert torch.allclose(hard_losses, soft_losses, atol=1e-6)


@pytest.mark.parametrize("alpha", [0.3, 0.6])
def test_members_loss_stays_near_its_level(alpha):
    plain = torch.cat(member_losses(memorising_task())).mean()
    assert plain < 0.05
    held = torch.stack(
        [row.mean() for row in member_losses(memorising_task(RelaxLoss(alpha=alpha)))]
    )
    assert (held > 0.7 * alpha).all()
    assert (held < 1.3 * alpha).all()


def test_level_zero_trains_the_undefended_model():
    recipe = dataclasses.replace(memorising_task().recipe, epochs=3)
    ours, plain = (trained(memorising_task(d, recipe)) for d in (RelaxLoss(alpha=0.0), None))
    assert all(torch.allclose(ours[name], plain[name], atol=1e-5) for name in plain)
