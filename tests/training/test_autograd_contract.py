"""What both paths of the autograd engine promise: determinism, checkpoints, averaging, stopping."""

import dataclasses
import math

import pytest
import torch
from small_task import (
    CLASSES,
    IMAGE,
    RECIPE,
    SMALL_CNN,
    STEPS,
    TABLE,
    N,
    generator,
    make_task,
    relative,
    started,
    vector,
)
from torch import nn
from torch.nn import functional

from dpbench.errors import UserError
from dpbench.models import CNN, MLP, Architecture, Softmax
from dpbench.models.network import Network
from dpbench.training import autograd
from dpbench.training.ensemble import Ensemble
from dpbench.training.fit import AUTOGRAD, predict
from dpbench.training.task import Diverged, Mechanism, Snapshots, Task, TrainingData


@pytest.mark.parametrize("mechanism", [None, Mechanism(max_grad_norm=1.0, noise_multiplier=1.0)])
class TestBothPaths:
    def test_same_seed_same_bytes_and_models_do_not_depend_on_their_block(self, mechanism):
        net = MLP(hidden=(5,), dropout=0.4)
        task = make_task(net, TABLE, mechanism=mechanism, models=(4, 2))
        together = AUTOGRAD.fit(task)[STEPS]
        for position, model in enumerate(task.models):
            one = dataclasses.replace(
                task, models=(model,), members=task.members[position : position + 1]
            )
            alone = AUTOGRAD.fit(one)[STEPS]
            for name, value in together.items():
                assert torch.equal(alone[name][0], value[position])
        assert not torch.equal(vector(together, 0), vector(together, 1))

    def test_another_seed_is_another_training(self, mechanism):
        task = make_task(Softmax(), TABLE, mechanism=mechanism)
        other = dataclasses.replace(task, seed=task.seed + 1)
        assert not torch.equal(
            vector(AUTOGRAD.fit(task)[STEPS]), vector(AUTOGRAD.fit(other)[STEPS])
        )

    def test_a_quadratic_penalty_is_weight_decay(self, mechanism):
        def half_square(weights):
            return 0.05 * sum(value.square().flatten(1).sum(1) for value in weights.values())

        plain = dataclasses.replace(RECIPE, weight_decay=0.0)
        decayed = dataclasses.replace(RECIPE, weight_decay=0.1)
        task = make_task(SMALL_CNN, IMAGE, plain, mechanism=mechanism, regularise=half_square)
        expected = make_task(SMALL_CNN, IMAGE, decayed, mechanism=mechanism)
        without = make_task(SMALL_CNN, IMAGE, plain, mechanism=mechanism)
        ours, decay, none = (
            vector(AUTOGRAD.fit(each)[STEPS]) for each in (task, expected, without)
        )
        assert relative(ours, decay) < 1e-5
        assert relative(ours, none) > 1e-3

    def test_one_hot_targets_are_labels(self, mechanism):
        task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism)
        soft = functional.one_hot(task.data.targets, CLASSES).float()
        other = dataclasses.replace(task, data=task.data._replace(targets=soft))
        assert (
            relative(vector(AUTOGRAD.fit(other)[STEPS]), vector(AUTOGRAD.fit(task)[STEPS])) < 1e-5
        )

    def test_a_loss_of_the_defense_is_used(self, mechanism):
        def cross_entropy(logits, targets):
            return -logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)

        task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism)
        same = dataclasses.replace(task, loss=cross_entropy)
        still = dataclasses.replace(task, loss=lambda logits, _: 0 * logits.sum(-1))
        expected = vector(AUTOGRAD.fit(task)[STEPS])
        assert relative(vector(AUTOGRAD.fit(same)[STEPS]), expected) < 1e-5
        assert relative(vector(AUTOGRAD.fit(still)[STEPS]), expected) > 0.01

    def test_checkpoints_are_the_prefixes_of_one_training(self, mechanism):
        task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism, checkpoints=(3, 6, 10))
        kept = AUTOGRAD.fit(task)
        assert list(kept) == [3, 6, 10]
        for step in (3, 6):
            shorter = AUTOGRAD.fit(dataclasses.replace(task, checkpoints=(step,)))
            assert torch.equal(vector(shorter[step]), vector(kept[step]))

    def test_averaging_is_the_mean_of_the_last_steps(self, mechanism):
        every = tuple(range(1, STEPS + 1))
        task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism, checkpoints=every)
        path = AUTOGRAD.fit(task)
        averaged = dataclasses.replace(task.recipe, averaging=0.4)
        kept = AUTOGRAD.fit(dataclasses.replace(task, recipe=averaged, checkpoints=(5, 10)))
        for step, window in ((5, (4, 5)), (10, (7, 8, 9, 10))):
            mean = torch.stack([vector(path[at]) for at in window]).mean(0)
            assert relative(vector(kept[step]), mean) < 1e-5

    def test_a_loss_that_is_not_a_number_is_a_divergence(self, mechanism):
        task = make_task(
            Softmax(),
            TABLE,
            mechanism=mechanism,
            loss=lambda logits, targets: logits.sum(-1) * torch.nan,
            checkpoints=(1, STEPS),
        )
        with pytest.raises(Diverged, match=r"model 0.* after step"):
            AUTOGRAD.fit(task)

    def test_a_rate_too_large_is_a_divergence(self, mechanism):
        recipe = dataclasses.replace(RECIPE, lr=1e30, weight_decay=1.0)
        with pytest.raises(Diverged):
            AUTOGRAD.fit(make_task(SMALL_CNN, IMAGE, recipe, mechanism=mechanism))

    def test_progress_rises_to_one(self, mechanism):
        seen: list[float] = []
        AUTOGRAD.fit(make_task(Softmax(), TABLE, mechanism=mechanism, models=(0, 1)), seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == 1.0
        assert 0.5 in seen


def reference_losses(task: Task, kept: Snapshots) -> dict[int, float]:
    losses = {}
    for step, weights in kept.items():
        outputs = predict(task, weights, task.data.reference_inputs)
        losses[step] = float(functional.cross_entropy(outputs[0], task.data.reference_targets))
    return losses


@pytest.mark.parametrize("patience", [1, 2, 50])
def test_patience_releases_the_best_epoch(patience):
    recipe = dataclasses.replace(RECIPE, batch_size=15, lr=0.3, weight_decay=0.0)
    # Two steps an epoch; dropout must be off in an evaluation and on again after it.
    task = make_task(MLP(hidden=(30,), dropout=0.1), TABLE, recipe)
    reference = torch.randn(200, *TABLE, generator=generator("reference"))
    truth, wrong = task.data.inputs[:, :CLASSES].argmax(1), torch.arange(N) % 2 == 0
    data = TrainingData(
        task.data.inputs,
        torch.where(wrong, task.data.targets, truth),
        reference,
        reference[:, :CLASSES].argmax(1),
    )
    task = dataclasses.replace(
        task, data=data, sampling=task.sampling._replace(steps=20), checkpoints=(20,)
    )
    epochs = tuple(range(2, 21, 2))
    path = AUTOGRAD.fit(dataclasses.replace(task, checkpoints=epochs))
    losses = reference_losses(task, path)
    best, waited = epochs[0], 0
    for step in epochs[1:]:
        best, waited = (step, 0) if losses[step] < losses[best] else (best, waited + 1)
        if waited == patience:
            break
    assert epochs[0] < best < epochs[-1]
    stopping = dataclasses.replace(recipe, patience=patience)
    kept = AUTOGRAD.fit(dataclasses.replace(task, recipe=stopping))
    assert list(kept) == [20]
    assert torch.equal(vector(kept[20]), vector(path[best]))


def test_patience_with_early_checkpoints_keeps_every_key():
    recipe = dataclasses.replace(RECIPE, patience=1, lr=5.0)
    task = make_task(MLP(hidden=(30,)), TABLE, recipe, checkpoints=(2, 9, STEPS))
    assert list(AUTOGRAD.fit(task)) == [2, 9, STEPS]


def test_snapshots_are_stacked_state_dicts():
    task = make_task(SMALL_CNN, IMAGE, models=(0, 1, 2))
    weights = AUTOGRAD.fit(task)[STEPS]
    expected = started(task).state_dict()
    assert list(weights) == list(expected)
    for name, value in weights.items():
        assert value.shape == (3, *expected[name].shape)
        assert value.dtype == torch.float32
        assert value.device.type == "cpu"
        assert not value.requires_grad


def test_logits_are_those_of_each_model(monkeypatch):
    monkeypatch.setattr(autograd, "_EVALUATION_BATCH", 7)
    net = CNN(width=3, hidden=5, dropout=0.5)
    task = make_task(net, IMAGE, models=(0, 1, 2))
    weights = AUTOGRAD.fit(task)[STEPS]
    outputs = AUTOGRAD.logits(Ensemble(Network(net, IMAGE, CLASSES), weights), task.data.inputs)
    assert outputs.shape == (3, N, CLASSES)
    assert not outputs.requires_grad
    for model in range(3):
        network = net.build(IMAGE, CLASSES, generator())
        network.load_state_dict({name: value[model] for name, value in weights.items()})
        with torch.no_grad():
            assert torch.allclose(outputs[model], network.eval()(task.data.inputs), atol=1e-6)


class _WithBatchNorm(Architecture):
    def build(self, shape, n_classes, generator):
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(math.prod(shape)))


def test_batch_norm_of_a_plugin_is_refused():
    with pytest.raises(UserError, match="BatchNorm1d"):
        AUTOGRAD.fit(make_task(_WithBatchNorm(), TABLE))
