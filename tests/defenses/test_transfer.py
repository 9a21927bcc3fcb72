"""Transfer: what is learned from whom."""

import dataclasses

import pytest
import torch

from dpbench.defenses import Composition, DpSgd, Transfer, transfer
from dpbench.errors import UserError
from dpbench.models import CNN, MLP
from dpbench.testing import check_defense
from dpbench.training.fit import DENSE, predict
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism, Task, TrainingData

N, D, C, K = 120, 12, 3, 3
RECIPE = Recipe(epochs=5, batch_size=10, lr=0.1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def task() -> Task:
    inputs = torch.randn(N, D, generator=generator(1))
    labels = inputs[:, :C].argmax(-1)
    public = torch.randn(300, D, generator=generator(2))
    sampling = RECIPE.sampling(N / 2)
    return Task(
        architecture=MLP(hidden=(16,)),
        shape=(D,),
        n_classes=C,
        recipe=RECIPE,
        sampling=sampling,
        mechanism=None,
        loss=None,
        regularise=None,
        data=TrainingData(inputs, labels, public, public[:, :C].argmax(-1)),
        members=torch.rand(K, N, generator=generator(3)) < 0.5,
        seed=5,
        models=tuple(range(K)),
        checkpoints=(sampling.steps,),
    )


@pytest.mark.parametrize("layers", ["last", "all"])
def test_the_contract(layers):
    check_defense(Transfer(layers=layers))


def test_the_first_layers_stay_as_the_public_data_made_them(task):
    last = Transfer().train(task)[task.checkpoints[-1]]
    assert all(torch.equal(last["1.weight"][0], one) for one in last["1.weight"])
    assert not torch.equal(last["3.weight"][0], last["3.weight"][1])
    whole = Transfer(layers="all").train(task)[task.checkpoints[-1]]
    assert not torch.equal(whole["1.weight"][0], whole["1.weight"][1])


def test_the_public_training_never_sees_a_member(task, monkeypatch):
    seen, real = [], transfer.fit

    def fit(asked, progress=lambda fraction: None):
        seen.append(asked)
        return real(asked, progress)

    monkeypatch.setattr(transfer, "fit", fit)
    mechanism = Mechanism(max_grad_norm=1.0, noise_multiplier=1.0)
    Transfer().train(dataclasses.replace(task, mechanism=mechanism))
    public, private = seen
    assert torch.equal(public.data.inputs, task.data.reference_inputs)
    assert public.mechanism is None
    assert private.mechanism == mechanism
    assert torch.equal(private.data.inputs, task.data.inputs)


def test_it_starts_better_than_from_nothing(task):
    short = dataclasses.replace(task, sampling=task.sampling._replace(steps=1), checkpoints=(1,))
    for layers in ("last", "all"):
        weights = Transfer(layers=layers).train(short)[1]
        accuracy = [
            (predict(task, one, task.data.inputs).argmax(-1) == task.data.targets).float().mean()
            for one in (weights, DENSE.fit(short)[1])
        ]
        assert accuracy[0] > accuracy[1] + 0.2


def test_a_claim_on_the_second_training_holds():
    both = Composition((Transfer(), DpSgd(noise_multiplier=1.0)))
    sampling = Sampling(rate=1.0, steps=10, batch=100.0, steps_per_epoch=1.0)
    assert both.mechanism(sampling).claim is not None


def test_convolutional_networks_transfer_too(task):
    images = task.data.inputs.reshape(N, 1, 3, 4).repeat(1, 1, 2, 1)
    public = task.data.reference_inputs.reshape(300, 1, 3, 4).repeat(1, 1, 2, 1)
    data = TrainingData(images, task.data.targets, public, task.data.reference_targets)
    small = dataclasses.replace(
        task, architecture=CNN(width=2, hidden=5), shape=(1, 6, 4), data=data
    )
    weights = Transfer(epochs=1.0).train(small)[task.checkpoints[-1]]
    still = [name for name, value in weights.items() if torch.equal(value[0], value[1])]
    assert len(still) == len(weights) - 2


def test_public_data_are_needed(task):
    data = task.data._replace(reference_inputs=torch.empty(0, D))
    with pytest.raises(UserError, match="reference"):
        Transfer().train(dataclasses.replace(task, data=data))
