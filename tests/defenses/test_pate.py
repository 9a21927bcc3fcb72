"""PATE: one example has one teacher, one teacher has one vote, and the votes are noisy enough."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from dpbench import privacy
from dpbench.defenses import Composition, LabelOnly, Pate, pate
from dpbench.errors import UserError
from dpbench.models import MLP
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson
from dpbench.privacy.audits.gaussian_audit import audit_gaussian
from dpbench.testing import check_defense
from dpbench.training.recipe import Recipe
from dpbench.training.task import Task, TrainingData
from tests.defenses.private_tasks import SAMPLING, C, generator, task_of, trials_of


def silent(fraction: float) -> None:
    """No progress to report."""


def test_the_contract():
    check_defense(Pate(epsilon=4.0))


@pytest.mark.parametrize(("epsilon", "queries"), [(0.5, 50), (8.0, 50), (2.0, 1)])
def test_the_claim_in_closed_form(epsilon, queries):
    defense = Pate(epsilon=epsilon, queries=queries)
    mechanism = defense.mechanism(SAMPLING)
    mu = privacy.gaussian_mu(mechanism.claim)
    assert mu == pytest.approx(math.sqrt(2 * queries) / defense.sigma)
    assert privacy.advantage(mechanism.claim) == pytest.approx(2 * norm.cdf(mu / 2) - 1)
    assert 0.99 * epsilon <= privacy.epsilon(mechanism.claim, mechanism.delta) <= epsilon + 1e-9
    assert not mechanism.clips
    assert Composition((defense, LabelOnly())).mechanism(SAMPLING).claim == mechanism.claim


def test_every_example_goes_to_one_teacher_of_its_own_choosing():
    defense = Pate(epsilon=8.0, teachers=6)
    task = task_of(torch.ones(2, 4, dtype=torch.bool))
    shards = defense.shards(task, 0, 5000)
    assert (shards.sum(0) == 1).all()
    assert shards.float().mean(1).numpy() == pytest.approx(np.full(6, 1 / 6), abs=0.02)
    together = (shards[:, :-1] & shards[:, 1:]).any(0).float().mean()
    assert float(together) == pytest.approx(1 / 6, abs=0.02)
    assert not torch.equal(shards, defense.shards(task, 1, 5000))


@settings(max_examples=8, deadline=None)
@given(st.floats(0, 1), st.integers(2, 7))
def test_every_teacher_votes_whether_it_has_members_or_not(share, teachers):
    defense = Pate(epsilon=8.0, teachers=teachers, queries=5)
    task = task_of(torch.rand(3, 20, generator=generator(6)) < share)
    counts = defense._counts(task, silent)
    assert counts.shape == (3, 5, C)
    assert (counts.sum(-1) == teachers).all()
    assert (counts >= 0).all()


def test_one_member_moves_one_vote():
    defense = Pate(epsilon=8.0, teachers=4, queries=10)
    members = torch.ones(12, 60, dtype=torch.bool)
    members[torch.arange(1, 12), torch.arange(11)] = False
    task = task_of(members, expected=60.0, architecture=MLP(hidden=(4,)))
    # The same shards and first weights for all: only one member differs from model 0.
    task = dataclasses.replace(task, models=(0,) * 12)
    # Full batches and equal numbers of steps: the order of the members does not matter.
    task = dataclasses.replace(task, recipe=Recipe(epochs=40, sampling_rate=1.0, lr=0.5))
    counts = defense._counts(task, silent)
    moved = (counts[1:] - counts[0]).abs().sum(-1)
    assert moved.max() > 0
    assert set(moved.flatten().tolist()) <= {0, 2}


def test_students_learn_noisy_votes_on_public_inputs_and_nothing_else(monkeypatch):
    defense = Pate(epsilon=1e4, teachers=3, queries=8)
    seen, real = [], pate.fit

    def fit(asked, progress=lambda fraction: None):
        seen.append(asked)
        return real(asked, progress)

    monkeypatch.setattr(pate, "fit", fit)
    task = task_of(torch.ones(2, 60, dtype=torch.bool), architecture=MLP(hidden=(4,)))
    released = defense.train(task)
    student, checkpoint = seen[-1], task.checkpoints[-1]
    assert torch.equal(student.data.inputs, task.data.reference_inputs[:8])
    assert student.members.all()
    counts = defense._counts(task, silent)
    clear = counts.max(-1).values > 2
    assert torch.equal(student.data.targets[clear], counts.argmax(-1)[clear])
    # From the same votes, other members would have made the same students.
    monkeypatch.setattr(Pate, "_counts", lambda self, task, progress: counts)
    fewer = dataclasses.replace(task, members=torch.zeros_like(task.members))
    again = defense.train(fewer)
    for name, value in released[checkpoint].items():
        assert torch.equal(value, again[checkpoint][name])


def test_teachers_and_students_take_steps_that_no_member_count_decides(monkeypatch):
    seen, real = [], pate.fit

    def fit(asked, progress=lambda fraction: None):
        seen.append(asked.sampling)
        return real(asked, progress)

    monkeypatch.setattr(pate, "fit", fit)
    task = task_of(torch.ones(2, 60, dtype=torch.bool), expected=30.0)
    Pate(epsilon=1.0, teachers=3, queries=8).train(task)
    fewer = dataclasses.replace(task, members=torch.zeros_like(task.members))
    Pate(epsilon=1.0, teachers=3, queries=8).train(fewer)
    assert seen[:2] == seen[2:]
    assert seen[0] == task.recipe.sampling(10.0)


def test_a_reference_set_that_is_too_small_is_an_error():
    task = task_of(torch.ones(2, 60, dtype=torch.bool))
    with pytest.raises(UserError, match="reference"):
        Pate(epsilon=1.0, queries=11).train(task)


def worst_pair(runs: int, queries: int) -> Task:
    """One example or none, and public inputs that are its own, with another label.

    Whoever has the example votes for its label; a teacher without members learns the public one.
    So every vote of its teacher moves.
    """
    inputs = torch.ones(1, 1)
    public = inputs.expand(queries, -1)
    members = (torch.arange(2 * runs) >= runs)[:, None]
    task = task_of(members, expected=1.0, shape=(1,), n_classes=2)
    return dataclasses.replace(
        task,
        recipe=Recipe(epochs=10, batch_size=1, lr=1.0, momentum=0.0),
        data=TrainingData(inputs, torch.ones(1).long(), public, torch.zeros(queries).long()),
    )


def audited(defense: Pate, monkeypatch) -> tuple[float, float]:
    """Epsilon proved of a Gaussian mechanism, and of any, from votes that real teachers cast."""
    votes = defense._counts(worst_pair(10, defense.queries), silent)
    for run, cast in enumerate(votes.tolist()):
        assert cast == [[1, 1] if run >= 10 else [2, 0]] * defense.queries
    # Teachers vote alike in every run: those of the others need not be trained.
    monkeypatch.setattr(Pate, "_counts", lambda *given: votes.repeat_interleave(250, 0))
    counts = defense._noisy_counts(worst_pair(2500, defense.queries), silent)
    trials = trials_of((counts[..., 1] - counts[..., 0]).sum(1).double().numpy())
    return (
        audit_gaussian(trials, delta=defense.delta).epsilon,
        audit_clopper_pearson(trials, delta=defense.delta).epsilon,
    )


DEFENSE = Pate(epsilon=2.0, delta=1e-2, teachers=2, queries=3)


def test_votes_are_as_private_as_claimed_and_hardly_more(monkeypatch):
    of_gaussian, of_any = audited(DEFENSE, monkeypatch)
    assert 1.6 < of_gaussian <= 2.0
    assert 1.0 < of_any <= 2.0


def test_half_the_noise_is_caught(monkeypatch):
    honest = Pate._noise
    monkeypatch.setattr(Pate, "_noise", lambda self, task, model: honest(self, task, model) / 2)
    of_gaussian, of_any = audited(DEFENSE, monkeypatch)
    assert of_gaussian > 2.0
    assert of_any > 2.0
