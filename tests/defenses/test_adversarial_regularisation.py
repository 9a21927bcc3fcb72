"""Adversarial regularisation: its attack network, its objective, and its own attacker's loss."""

import dataclasses

import pytest
import torch
from torch.nn import functional

from dpbench.defenses import AdversarialRegularisation
from dpbench.defenses.inference_network import InferenceNetwork
from dpbench.errors import UserError
from dpbench.testing import check_defense
from dpbench.training.fit import AUTOGRAD, DENSE, predict
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Setting, Step
from tests.defenses.memorising import (
    CLASSES,
    MODELS,
    POOL,
    generator,
    memorising_task,
    trained,
)

SMALL = AdversarialRegularisation(width=64, attack_steps=2)


def examples(batch: int = 30):
    draw = generator("examples")
    outputs = torch.randn(MODELS, batch, CLASSES, generator=draw).softmax(-1)
    labels = torch.randint(CLASSES, (MODELS, batch), generator=draw)
    members = torch.randint(-1, 2, (MODELS, batch), generator=draw).float()
    return outputs, labels, members


def network(width: int = 64) -> InferenceNetwork:
    return InferenceNetwork(
        models=MODELS, n_classes=CLASSES, width=width, lr=1e-2, generator=generator("network")
    )


class Single:
    """One model's attack network, with the weights of a stacked one."""

    def __init__(self, stacked: InferenceNetwork, model: int) -> None:
        layers = (stacked._prediction, stacked._label, stacked._joint)
        self.towers = [[self._own(layer, model) for layer in tower] for tower in layers]

    @staticmethod
    def _own(layer, model):
        weight, bias = layer
        own = weight.detach()[model].T.clone(), bias.detach()[model, 0].clone()
        return tuple(parameter.requires_grad_() for parameter in own)

    def parameters(self):
        return [parameter for tower in self.towers for layer in tower for parameter in layer]

    def guess(self, outputs, labels):
        first, second = outputs, functional.one_hot(labels, CLASSES).float()
        for layer in self.towers[0]:
            first = functional.linear(first, *layer).relu()
        for layer in self.towers[1]:
            second = functional.linear(second, *layer).relu()
        joined = torch.cat([first, second], -1)
        for layer in self.towers[2][:-1]:
            joined = functional.linear(joined, *layer).relu()
        return functional.linear(joined, *self.towers[2][-1]).squeeze(-1).sigmoid()


@pytest.mark.parametrize("alpha", [0.0, 6.0])
def test_keeps_its_contract(alpha):
    check_defense(dataclasses.replace(SMALL, alpha=alpha, warm_up=0.0))


@pytest.mark.parametrize("width", [16, 64, 256])
def test_no_network_is_born_dead(width):
    outputs, labels, _ = examples()
    spread = network(width).logits(outputs, labels).std(-1)
    assert (spread > 1e-3).all()


def test_published_shape_at_the_published_width():
    stacked = network(width=1024)
    shapes = [
        [tuple(weight.shape[1:]) for weight, _ in layers]
        for layers in (stacked._prediction, stacked._label, stacked._joint)
    ]
    assert shapes == [
        [(CLASSES, 1024), (1024, 512), (512, 64)],
        [(CLASSES, 128), (128, 64)],
        [(128, 512), (512, 256), (256, 128), (128, 64), (64, 1)],
    ]


def test_stacked_networks_learn_like_single_ones():
    stacked, (outputs, labels, members) = network(), examples()
    singles = [Single(stacked, model) for model in range(MODELS)]
    for _ in range(5):
        stacked.learn(outputs, labels, members)
    for model, single in enumerate(singles):
        adam = torch.optim.Adam(single.parameters(), lr=1e-2)
        inside, outside = members[model] == 1, members[model] == -1
        for _ in range(5):
            guess = single.guess(outputs[model], labels[model])
            gain = guess[inside].log().mean() / 2 + (1 - guess[outside]).log().mean() / 2
            adam.zero_grad()
            (-gain).backward()
            adam.step()
        expected = single.guess(outputs[model], labels[model])
        found = stacked.logits(outputs, labels)[model].sigmoid()
        assert torch.allclose(found, expected, atol=1e-5)


def test_an_ignorant_network_gains_minus_log_two():
    outputs, labels, members = examples()
    stacked = network()
    weight, bias = stacked._joint[-1]
    stacked._joint[-1] = (torch.zeros_like(weight), bias)
    gain = stacked.gain(outputs, labels, members)
    assert torch.allclose(gain, torch.full((MODELS,), -0.693147))


def test_examples_left_out_do_not_count():
    outputs, labels, members = examples()
    stacked = network()
    changed = outputs.clone()
    changed[members == 0] = 1 / CLASSES
    before = stacked.gain(outputs, labels, members)
    assert torch.equal(stacked.gain(changed, labels, members), before)
    assert not torch.allclose(stacked.gain(changed.flip(-1), labels, members), before)


def setting(**changes) -> Setting:
    task = memorising_task()
    plain = Setting(
        models=MODELS,
        n_classes=CLASSES,
        sampling=Sampling(rate=1 / 3, steps=9, batch=20.0, steps_per_epoch=3.0),
        data=task.data,
        members=task.members,
        predict=lambda inputs: inputs[:, :CLASSES].expand(MODELS, -1, -1),
        generator=generator("objective"),
    )
    return plain._replace(**changes)


def test_model_fights_back_after_the_warm_up():
    logits = torch.randn(MODELS, 20, CLASSES, generator=generator("logits"))
    targets = torch.randint(CLASSES, (MODELS, 20), generator=generator("batch"))
    plain = functional.cross_entropy(logits.transpose(1, 2), targets, reduction="none")
    losses = dataclasses.replace(SMALL, alpha=4.0).objective(setting())
    for number in range(1, 7):
        with torch.no_grad():
            extra = losses(Step(logits, targets, number)) - plain
        if number <= 3:
            assert torch.allclose(extra, torch.zeros_like(extra), atol=1e-6)
        else:
            assert extra.abs().max() > 0
            assert (extra.abs() <= 2.0).all(), "4 (h - 1/2) with h a probability"


def test_needs_public_examples():
    data = memorising_task().data
    empty = data._replace(
        reference_inputs=data.reference_inputs[:0], reference_targets=data.reference_targets[:0]
    )
    with pytest.raises(UserError, match="reference set is empty"):
        SMALL.objective(setting(data=empty))


def test_no_weight_trains_the_undefended_model():
    recipe = Recipe(epochs=3, batch_size=20, lr=0.2, momentum=0.9)
    ours = trained(memorising_task(dataclasses.replace(SMALL, alpha=0.0), recipe))
    plain = trained(memorising_task(None, recipe))
    assert all(torch.allclose(ours[name], plain[name], atol=1e-5) for name in plain)


def gain_of_a_fresh_attacker(defense) -> float:
    """Trains the same attack network anew, against the finished models."""
    task = memorising_task(defense, Recipe(epochs=60, batch_size=20, lr=0.05, momentum=0.9))
    weights = trained(task)
    seen = torch.cat([task.data.inputs, task.data.reference_inputs])
    labels = torch.cat([task.data.targets, task.data.reference_targets]).expand(MODELS, -1)
    members = torch.cat([task.members.float(), -torch.ones(task.members.shape)], 1)
    outputs = predict(task, weights, seen).softmax(-1)
    attacker = network(width=64)
    for _ in range(150):
        gain = attacker.learn(outputs, labels, members)
    return float(gain.mean())


def test_lowers_the_gain_of_its_own_attacker():
    defended = AdversarialRegularisation(alpha=6.0, lr=3e-3)
    undefended_gain = gain_of_a_fresh_attacker(None)
    assert undefended_gain > -0.2
    assert gain_of_a_fresh_attacker(defended) < undefended_gain - 0.15


def test_means_the_same_in_both_engines():
    task = memorising_task(dataclasses.replace(SMALL, warm_up=1.0))
    task = dataclasses.replace(
        task,
        members=torch.ones_like(task.members[:1]),
        models=(0,),
        sampling=Sampling(rate=1.0, steps=6, batch=float(POOL), steps_per_epoch=1.0),
        checkpoints=(6,),
    )
    ours, theirs = (engine.fit(task)[6] for engine in (DENSE, AUTOGRAD))
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-4) for name in ours)
