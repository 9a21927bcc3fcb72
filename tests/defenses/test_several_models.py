"""Defenses that train several models: what each of them has seen, and what it is taught."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional

from dpbench.defenses import Distillation, Dmp, Selena, dmp, selena
from dpbench.errors import UserError
from dpbench.models import MLP
from dpbench.testing import check_defense
from dpbench.training.fit import DENSE, predict
from dpbench.training.recipe import Recipe
from dpbench.training.task import Task, TrainingData

N, D, C, K = 240, 20, 4, 4
RECIPE = Recipe(epochs=60, batch_size=16, lr=0.05, momentum=0.9)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def blobs(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(count) % C
    centers = torch.randn(C, D, generator=generator(99))
    return centers[labels] + 3.0 * torch.randn(count, D, generator=generator(seed)), labels


@pytest.fixture
def task() -> Task:
    inputs, labels = blobs(1, N)
    sampling = RECIPE.sampling(N / 2)
    return Task(
        architecture=MLP(hidden=(32,)),
        shape=(D,),
        n_classes=C,
        recipe=RECIPE,
        sampling=sampling,
        mechanism=None,
        loss=None,
        regularise=None,
        data=TrainingData(inputs, labels, *blobs(2, 200)),
        members=torch.rand(K, N, generator=generator(3)) < 0.5,
        seed=5,
        models=tuple(range(K)),
        checkpoints=(sampling.steps,),
    )


def spied(monkeypatch, module) -> list[Task]:
    """Records every training that a defense asks for."""
    seen, real = [], module.fit

    def fit(asked, progress=lambda fraction: None):
        seen.append(asked)
        return real(asked, progress)

    monkeypatch.setattr(module, "fit", fit)
    return seen


def gap_of(task: Task, snapshots) -> float:
    """Advantage of the gap attack: accuracy on members minus accuracy on the others."""
    weights = snapshots[task.checkpoints[-1]]
    outputs = predict(task, weights, task.data.inputs)
    right = (outputs.argmax(-1) == task.data.targets).numpy()
    members = task.members.numpy()
    return float(right[members].mean() - right[~members].mean())


@pytest.mark.parametrize("defense", [Distillation(), Selena(), Dmp()], ids=lambda d: d.name)
def test_the_contract(defense):
    check_defense(defense)


@pytest.mark.parametrize("defense", [Distillation(), Selena(splits=5, held_out=2), Dmp()])
def test_training_reports_progress_and_repeats_itself(defense, task):
    told = []
    first = defense.train(task, told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    for name, value in defense.train(task)[task.checkpoints[-1]].items():
        assert torch.equal(value, first[task.checkpoints[-1]][name])


def test_split_ai_answers_about_a_member_from_models_that_never_saw_it(monkeypatch, task):
    defense = Selena(splits=6, held_out=2)
    seen = spied(monkeypatch, selena)
    defense.train(task)
    *parts, student = seen
    sub_members = torch.cat([part.members for part in parts]).view(K, 6, N)
    seen_by = sub_members.sum(1)
    assert (seen_by[task.members] == 4).all()
    assert not seen_by[~task.members].any()
    weights = [DENSE.fit(part)[part.checkpoints[-1]] for part in parts]
    stacked = {name: torch.cat([one[name] for one in weights]) for name in weights[0]}
    answers = predict(task, stacked, task.data.inputs)
    answers = answers.softmax(-1).view(K, 6, N, C)
    for model, example in [(0, 3), (1, 100), (3, 239)]:
        if task.members[model, example]:
            out = [part for part in range(6) if not sub_members[model, part, example]]
            mean = answers[model, out, example].mean(0)
            torch.testing.assert_close(student.data.targets[model, example], mean)
    torch.testing.assert_close(student.data.targets.sum(-1), torch.ones(K, N))
    assert len({number for part in parts for number in part.models}) == 6 * K


def test_held_out_sets_are_random_and_ignore_who_is_a_member(task):
    defense = Selena(splits=25, held_out=10)
    held = defense.held_out_of(task, 0, 4000)
    assert (held.sum(0) == 10).all()
    assert held.float().mean(1).numpy() == pytest.approx(np.full(25, 0.4), abs=0.03)
    together = (held[0] & held[1]).float().mean()
    assert float(together) == pytest.approx(10 * 9 / (25 * 24), abs=0.02)
    assert not torch.equal(held, defense.held_out_of(task, 1, 4000))


def test_members_look_like_others_to_the_direct_attack(task):
    undefended = gap_of(task, DENSE.fit(task))
    assert undefended > 0.2
    assert gap_of(task, Selena(splits=10, held_out=4).train(task)) < 0.4 * undefended
    assert gap_of(task, Dmp(share=1.0).train(task)) < 0.5 * undefended


def test_everything_cannot_be_held_out(task):
    with pytest.raises(UserError, match="held_out"):
        Selena(splits=3, held_out=3).train(task)


def test_a_students_loss_is_the_mixture(task):
    logits = torch.randn(6, C, generator=generator())
    soft = torch.randn(6, C, generator=generator(1)).softmax(-1)
    labels = torch.arange(6) % C
    defense = Distillation(temperature=3.0, alpha=0.3)
    both = torch.cat([soft, functional.one_hot(labels, C).float()], -1)
    divergence = (
        functional.kl_div((logits / 3).log_softmax(-1), soft, reduction="none").sum(-1)
        + torch.distributions.Categorical(soft).entropy()
    )
    expected = 0.3 * 9 * divergence + 0.7 * functional.cross_entropy(
        logits, labels, reduction="none"
    )
    torch.testing.assert_close(defense.mixture(logits, both), expected)


def test_a_student_of_nothing_but_labels_is_a_plain_model(task):
    task = dataclasses.replace(
        task, sampling=task.sampling._replace(steps=5), checkpoints=(5,)
    )  # rounding grows with every step
    plain = DENSE.fit(task)[task.checkpoints[-1]]
    student = Distillation(alpha=0.0).train(task)[task.checkpoints[-1]]
    for name, value in plain.items():
        torch.testing.assert_close(student[name], value, atol=1e-3, rtol=1e-3)


def test_distillation_refuses_a_second_loss(task):
    with pytest.raises(UserError, match="cannot be composed"):
        Distillation().train(dataclasses.replace(task, loss=lambda logits, targets: logits.sum(-1)))


def test_dmp_selects_confident_answers_and_never_shows_a_member(monkeypatch, task):
    defense = Dmp(share=0.25)
    seen = spied(monkeypatch, dmp)
    defense.train(task)
    _, student = seen
    assert torch.equal(student.data.inputs, task.data.reference_inputs)
    assert (student.members.sum(1) == 50).all()
    entropy = -torch.xlogy(student.data.targets, student.data.targets).sum(-1)
    for model in range(K):
        chosen = student.members[model]
        assert entropy[model, chosen].max() <= entropy[model, ~chosen].min()


def test_dmp_keeps_the_place_of_checkpoints(task):
    half = task.sampling.steps // 2
    both = dataclasses.replace(task, checkpoints=(half, task.sampling.steps))
    assert set(Dmp().train(both)) == {half, task.sampling.steps}


def test_dmp_needs_public_inputs(task):
    data = task.data._replace(reference_inputs=torch.empty(0, D))
    with pytest.raises(UserError, match="reference"):
        Dmp().train(dataclasses.replace(task, data=data))
