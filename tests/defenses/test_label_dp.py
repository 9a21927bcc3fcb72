"""Label-DP: randomised response as it should be, audited, and what it does not promise."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import dpbench.attacks  # noqa: F401
from dpbench.component import REGISTRIES
from dpbench.defenses import Composition, DpSgd, LabelDp, label_dp
from dpbench.errors import UserError
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson
from dpbench.privacy.audits.trials import Trials
from dpbench.testing import check_defense
from dpbench.training.fit import predict
from dpbench.training.task import Task
from tests.defenses.memorising import memorising_task
from tests.defenses.private_tasks import SAMPLING, C, D, generator, task_of


@pytest.mark.parametrize("defense", [LabelDp(), LabelDp(corrected=True)], ids=lambda d: d.label())
def test_the_contract(defense):
    check_defense(defense)


def labels_of(defense: LabelDp, task: Task, monkeypatch) -> torch.Tensor:
    """The labels `(K, n)` that models are trained on."""
    seen = []

    def fit(asked, progress=None):
        seen.append(asked)
        return {}

    monkeypatch.setattr(label_dp, "fit", fit)
    defense.train(task)
    return seen[0].data.targets


@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_labels_are_kept_with_the_probability_of_randomised_response(epsilon, monkeypatch):
    defense = LabelDp(epsilon=epsilon)
    task = task_of(torch.ones(40, 3000, dtype=torch.bool))
    noisy, labels = labels_of(defense, task, monkeypatch), task.data.targets
    expected = math.exp(epsilon) / (math.exp(epsilon) + C - 1)
    assert defense.keep_probability(C) == pytest.approx(expected)
    assert float((noisy == labels).float().mean()) == pytest.approx(expected, abs=0.006)
    shift = (noisy - labels) % C
    for other in range(1, C):
        share = float((shift == other).float().mean())
        assert share == pytest.approx((1 - expected) / (C - 1), abs=0.006)


def test_noise_is_shared_by_no_two_models_and_no_two_examples(monkeypatch):
    defense = LabelDp(epsilon=1.0)
    task = task_of(torch.ones(20, 2000, dtype=torch.bool))
    kept = labels_of(defense, task, monkeypatch) == task.data.targets
    expected = defense.keep_probability(C) ** 2
    of_models = (kept[:-1] & kept[1:]).float().mean()
    of_examples = (kept[:, :-1] & kept[:, 1:]).float().mean()
    assert float(of_models) == pytest.approx(expected, abs=0.012)
    assert float(of_examples) == pytest.approx(expected, abs=0.012)


def test_noise_depends_on_the_model_and_not_on_its_neighbours_or_members(monkeypatch):
    task = task_of(torch.ones(3, 50, dtype=torch.bool))
    together = labels_of(LabelDp(), task, monkeypatch)
    members = torch.rand(1, 50, generator=generator()) < 0.5
    alone = dataclasses.replace(task, members=members, models=(2,))
    assert torch.equal(labels_of(LabelDp(), alone, monkeypatch)[0], together[2])


def proved(defense: LabelDp, monkeypatch) -> float:
    """Which of two labels had an example? From the noisy label alone; nothing could know more."""
    task = task_of(torch.ones(5000, 1, dtype=torch.bool))
    task = dataclasses.replace(task, data=task.data._replace(targets=torch.zeros(1).long()))
    said_zero = labels_of(defense, task, monkeypatch)[:, 0]
    task = dataclasses.replace(task, data=task.data._replace(targets=torch.ones(1).long()), seed=6)
    said_one = labels_of(defense, task, monkeypatch)[:, 0]
    # For label 1: certainly not, unknown, rather yes.
    scores = torch.tensor([-1.0, 1.0, 0.0])[torch.cat([said_zero, said_one])].numpy()
    return audit_clopper_pearson(Trials.independent(scores, np.arange(10_000) >= 5000)).epsilon


def test_labels_are_as_private_as_claimed_and_hardly_more(monkeypatch):
    assert 1.8 < proved(LabelDp(epsilon=2.0), monkeypatch) <= 2.0


def test_a_little_less_noise_is_caught(monkeypatch):
    honest = LabelDp.keep_probability
    monkeypatch.setattr(
        LabelDp, "keep_probability", lambda self, classes: 1 - (1 - honest(self, classes)) / 2
    )
    assert proved(LabelDp(epsilon=2.0), monkeypatch) > 2.0


def test_membership_is_promised_nothing_and_a_mechanism_behind_keeps_its_claim():
    assert LabelDp().mechanism(SAMPLING) is None
    both = Composition((LabelDp(), DpSgd(noise_multiplier=1.0)))
    assert both.mechanism(SAMPLING).claim is not None


def test_a_member_is_seen_through_its_features_whatever_its_label():
    """From weights of zero, training on one member moves them along its features alone."""
    task = task_of(torch.eye(2, dtype=torch.bool))
    zeros = {"1.weight": torch.zeros(2, C, D), "1.bias": torch.zeros(2, C)}
    task = dataclasses.replace(task, initial=zeros)
    weights = LabelDp(epsilon=0.01).train(task)[task.checkpoints[-1]]["1.weight"]
    along = torch.einsum("kcd,nd->kcn", weights, task.data.inputs).norm(dim=1)
    assert torch.allclose(along.diagonal(), weights.flatten(1).norm(dim=1), rtol=1e-4)
    assert (along.argmax(1) == torch.tensor([0, 1])).all()
    assert along.diagonal().min() > 0.1


def test_epsilon_does_not_bound_who_was_a_member():
    """A network that fits random labels is sure of its members, whatever it says of them."""
    defense, task = LabelDp(epsilon=0.1), memorising_task()
    weights = defense.train(task)[task.checkpoints[-1]]
    sure = predict(task, weights, task.data.inputs).softmax(-1).max(-1).values
    guessed = sure > sure.median(1, keepdim=True).values
    advantage = guessed[task.members].float().mean() - guessed[~task.members].float().mean()
    assert float(advantage) > 3 * math.tanh(0.1 / 2)
    assert set(defense.adaptive_attacks) <= set(REGISTRIES["attack"])


def test_the_corrected_loss_is_least_at_the_clean_answer():
    defense = LabelDp(epsilon=1.0, corrected=True)
    clean = torch.tensor([0.7, 0.2, 0.1])
    keep = defense.keep_probability(C)
    noisy = keep * clean + (1 - keep) / (C - 1) * (1 - clean)

    def expected(probabilities):
        return float(defense._corrected(probabilities.log(), noisy))

    rivals = torch.rand(200, C, generator=generator()) + 0.01
    assert all(expected(clean) <= expected(rival / rival.sum()) + 1e-6 for rival in rivals)


def test_what_would_be_ignored_is_refused():
    task = task_of(torch.ones(2, 9, dtype=torch.bool))
    other_loss = dataclasses.replace(task, loss=lambda logits, targets: logits.sum(-1))
    with pytest.raises(UserError, match=r"label_dp\.corrected"):
        LabelDp(corrected=True).train(other_loss)
    soft = task.data._replace(targets=torch.full((9, C), 1 / C))
    with pytest.raises(UserError, match="soft labels"):
        LabelDp().train(dataclasses.replace(task, data=soft))
