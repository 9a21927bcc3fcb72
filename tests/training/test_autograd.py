"""The autograd engine against plain and per-example loops, Opacus' loop and the dense engine."""

import dataclasses
import math
import warnings

import pytest
import torch
from scipy import stats
from small_task import (
    CLIP,
    IMAGE,
    RECIPE,
    SMALL_CNN,
    STEPS,
    TABLE,
    N,
    generator,
    make_task,
    parameters_of,
    relative,
    started,
    vector,
)
from torch import nn
from torch.nn import functional

from dpbench.models import CNN, MLP, ResNet, Softmax, Torchvision
from dpbench.models.network import Network
from dpbench.training import autograd
from dpbench.training.batches import poisson_batches, shuffled_batches
from dpbench.training.ensemble import Ensemble
from dpbench.training.fit import AUTOGRAD, DENSE
from dpbench.training.hooked import in_rows
from dpbench.training.recipe import Recipe
from dpbench.training.schedule import learning_rates
from dpbench.training.task import Mechanism, Task, TrainingData

NETS = [
    (Softmax(), TABLE),
    (MLP(hidden=(5,), layer_norm=True, activation="tanh"), TABLE),
    (SMALL_CNN, IMAGE),
    (CNN(width=4, hidden=16, pool="max"), IMAGE),
    (ResNet(width=4), IMAGE),
]
nets = pytest.mark.parametrize(("net", "shape"), NETS, ids=[net.label() for net, _ in NETS])


def rows_of(task: Task, model: int = 0) -> list[torch.Tensor]:
    """The pool rows of every step, from the generator the engine promises to use."""
    seeded, position = generator("batches", model), task.models.index(model)
    members = task.members[position : position + 1]
    if task.mechanism is None:
        drawn = shuffled_batches(members, round(task.sampling.batch), STEPS, seeded)
    else:
        drawn = poisson_batches(members, task.sampling.rate, STEPS, seeded)
    return [index[0] if mask is None else index[0][mask[0] > 0] for index, mask in drawn]


def clipped_sum(network: nn.Module, task: Task, rows: torch.Tensor, norm: float) -> list:
    """One autograd call per example, the definition of DP-SGD's clipped sum."""
    total = [torch.zeros_like(value) for value in network.parameters()]
    for row in rows.tolist():
        loss = functional.cross_entropy(
            network(task.data.inputs[row : row + 1]), task.data.targets[row : row + 1]
        )
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        length = math.sqrt(sum(float(value.square().sum()) for value in gradients))
        for held, value in zip(total, gradients, strict=True):
            held.add_(value * min(1.0, norm / length))
    return total


def sgd(network: nn.Module, task: Task, gradient_of) -> None:
    """Heavy-ball SGD with decay, written out."""
    velocity = [torch.zeros_like(value) for value in network.parameters()]
    rates = learning_rates(task.recipe, task.sampling)
    for rate, rows in zip(rates, rows_of(task), strict=True):
        gradients = gradient_of(rows)
        for value, speed, gradient in zip(network.parameters(), velocity, gradients, strict=True):
            speed.mul_(task.recipe.momentum).add_(gradient)
            speed.add_(task.recipe.weight_decay * value.detach())
            value.data.sub_(rate * speed)


def assert_every_layer_learns(task: Task) -> None:
    """Parity is worth nothing where dead units leave the gradient zero."""
    recipe = dataclasses.replace(RECIPE, lr=1.0, momentum=0.0, weight_decay=0.0)
    weights = AUTOGRAD.fit(dataclasses.replace(task, recipe=recipe, checkpoints=(1,)))[1]
    for name, start in started(task).state_dict().items():
        assert (weights[name][0] - start).abs().max() > 1e-4, name


@nets
def test_plain_training_is_the_usual_loop(net, shape):
    task = make_task(net, shape)
    network = started(task)

    def gradient_of(rows):
        loss = functional.cross_entropy(network(task.data.inputs[rows]), task.data.targets[rows])
        return torch.autograd.grad(loss, list(network.parameters()))

    sgd(network, task, gradient_of)
    assert relative(vector(AUTOGRAD.fit(task)[STEPS]), parameters_of(network)) < 1e-5
    assert_every_layer_learns(task)


@nets
def test_private_training_without_noise_is_the_per_example_loop(net, shape):
    task = make_task(net, shape, mechanism=CLIP)
    network = started(task)

    def gradient_of(rows):
        total = clipped_sum(network, task, rows, CLIP.max_grad_norm)
        return [value / task.sampling.batch for value in total]

    sgd(network, task, gradient_of)
    assert relative(vector(AUTOGRAD.fit(task)[STEPS]), parameters_of(network)) < 1e-5
    assert_every_layer_learns(task)


@nets
@pytest.mark.oracle
def test_private_training_without_noise_is_the_loop_of_opacus(net, shape):
    from opacus.grad_sample import GradSampleModule
    from opacus.optimizers import DPOptimizer

    task = make_task(net, shape, mechanism=CLIP)
    network = started(task)
    wrapped = GradSampleModule(network, loss_reduction="mean")
    optimizer = DPOptimizer(
        torch.optim.SGD(network.parameters(), lr=1.0, momentum=0.9, weight_decay=0.01),
        noise_multiplier=0.0,
        max_grad_norm=CLIP.max_grad_norm,
        expected_batch_size=task.sampling.batch,
    )
    rates = learning_rates(task.recipe, task.sampling)
    for rate, rows in zip(rates, rows_of(task), strict=True):
        assert len(rows)
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        outputs = wrapped(task.data.inputs[rows])
        with warnings.catch_warnings():
            # https://github.com/pytorch/pytorch/pull/155339
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            functional.cross_entropy(outputs, task.data.targets[rows]).backward()
        optimizer.step()
    assert relative(vector(AUTOGRAD.fit(task)[STEPS]), parameters_of(network)) < 1e-5


@pytest.mark.parametrize("mechanism", [None, CLIP])
@pytest.mark.parametrize("changes", [{}, {"averaging": 0.5}, {"patience": 1}])
def test_both_engines_train_the_same_model(mechanism, changes):
    """One model at a time, both draw the same initial weights and the same batches."""
    net = MLP(hidden=(7, 5), activation="tanh", layer_norm=True)
    recipe = dataclasses.replace(RECIPE, **changes)
    task = make_task(net, TABLE, recipe, mechanism=mechanism, checkpoints=(STEPS,))
    ours, theirs = AUTOGRAD.fit(task)[STEPS], DENSE.fit(task)[STEPS]
    assert list(ours) == list(theirs)
    assert relative(vector(ours), vector(theirs)) < 1e-5


def one_step(task: Task) -> torch.Tensor:
    """The averaged gradient of a single step: lr 1, no momentum, no decay."""
    recipe = dataclasses.replace(RECIPE, lr=1.0, momentum=0.0, weight_decay=0.0)
    task = dataclasses.replace(task, recipe=recipe, checkpoints=(1,))
    return parameters_of(started(task)) - vector(AUTOGRAD.fit(task)[1])


def test_noise_is_gaussian_with_the_promised_deviation_and_added_once():
    shape, mechanism = (3000,), Mechanism(max_grad_norm=0.7, noise_multiplier=1.3)
    task = make_task(Softmax(), shape, mechanism=mechanism)
    quiet = dataclasses.replace(mechanism, noise_multiplier=0.0)
    noise = one_step(task) - one_step(dataclasses.replace(task, mechanism=quiet))
    deviation = 1.3 * 0.7 / task.sampling.batch
    values = (noise / deviation).double().numpy()
    assert stats.kstest(values, stats.norm.cdf).pvalue > 1e-3
    # The estimate of a deviation from 12004 values is within 2.5 % beyond any doubt.
    assert abs(values.std() - 1) < 0.025


def test_noise_differs_between_steps_and_models():
    mechanism = Mechanism(max_grad_norm=1.0, noise_multiplier=1.0)
    recipe = dataclasses.replace(
        RECIPE, lr=1.0, momentum=0.0, weight_decay=0.0, schedule="constant"
    )
    task = make_task(Softmax(), (500,), recipe, mechanism=mechanism, models=(0, 1))
    task = dataclasses.replace(
        task, members=torch.zeros(2, N, dtype=torch.bool), checkpoints=(1, 2)
    )
    kept = AUTOGRAD.fit(task)
    noises = []
    for model in (0, 1):
        start = parameters_of(started(task, model))
        first, second = vector(kept[1], model), vector(kept[2], model)
        noises += [start - first, first - second]
    correlations = torch.corrcoef(torch.stack(noises)) - torch.eye(4)
    assert correlations.abs().max() < 0.1  # 4.5 deviations for 2004 coordinates


def test_an_empty_batch_is_a_step_of_noise_alone():
    mechanism = Mechanism(max_grad_norm=2.0, noise_multiplier=0.5)
    task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism)
    task = dataclasses.replace(task, members=torch.zeros(1, N, dtype=torch.bool))
    update = one_step(task)
    assert 0 < update.std() < 2 * 2.0 * 0.5 / task.sampling.batch
    silent = dataclasses.replace(mechanism, noise_multiplier=0.0)
    assert not one_step(dataclasses.replace(task, mechanism=silent)).any()


def test_denominator_does_not_depend_on_the_number_of_members():
    recipe = dataclasses.replace(RECIPE, sampling_rate=1.0)
    task = make_task(SMALL_CNN, IMAGE, recipe, mechanism=CLIP)
    some, others = task.members.clone(), task.members.clone()
    some[:, N // 3 :], others[:, : N // 3] = False, False
    assert 0 < some.sum() < others.sum()
    updates = [
        one_step(dataclasses.replace(task, members=members))
        for members in (some, others, some | others)
    ]
    assert torch.allclose(updates[0] + updates[1], updates[2], atol=1e-6)
    network = started(task)
    total = clipped_sum(network, task, task.members[0].nonzero().squeeze(1), CLIP.max_grad_norm)
    expected = torch.cat([value.flatten() for value in total]) / task.sampling.batch
    assert relative(updates[2], expected) < 1e-5


@pytest.mark.parametrize("mechanism", [None, CLIP])
def test_memory_layout_of_the_inputs_does_not_matter(mechanism):
    """Opacus' own unfolding gives wrong gradients for activations that are not laid out by rows."""
    task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism)
    expected = vector(AUTOGRAD.fit(task)[STEPS])
    inputs = task.data.inputs
    for other in (
        inputs.contiguous(memory_format=torch.channels_last),
        inputs.transpose(2, 3).contiguous().transpose(2, 3),
    ):
        assert not other.is_contiguous()
        changed = dataclasses.replace(task, data=task.data._replace(inputs=other))
        assert relative(vector(AUTOGRAD.fit(changed)[STEPS]), expected) < 1e-5


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (3, 2, 1, 1), (3, 1, 4, 4), (1, 4, 2, 2)])
def test_convolution_inputs_get_the_strides_of_rows(shape):
    values = torch.randn(shape, generator=generator("values"))
    (laid_out,) = in_rows(nn.Identity(), (values.contiguous(memory_format=torch.channels_last),))
    assert torch.equal(laid_out, values)
    assert laid_out.stride() == torch.empty(shape).stride()


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_clipping_in_parts_changes_nothing(monkeypatch, sigma):
    mechanism = dataclasses.replace(CLIP, noise_multiplier=sigma)
    task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism)
    whole = vector(AUTOGRAD.fit(task)[STEPS])
    monkeypatch.setattr(autograd, "_GRADIENTS_AT_ONCE", 2 * len(whole))
    assert max(len(rows) for rows in rows_of(task)) > 4
    assert relative(vector(AUTOGRAD.fit(task)[STEPS]), whole) < 1e-5


@pytest.mark.parametrize("net", [CNN(width=8), ResNet(width=8)], ids=["cnn", "resnet"])
@pytest.mark.parametrize("mechanism", [None, Mechanism(max_grad_norm=1.0, noise_multiplier=0.1)])
def test_convolutional_networks_learn(net, mechanism):
    """Bright upper against bright lower halves, 200 images."""
    labels = torch.randint(0, 2, (200,), generator=generator("labels"))
    images = 0.5 * torch.randn(200, 1, 12, 12, generator=generator("images"))
    images[labels == 1, :, :6] += 1
    images[labels == 0, :, 6:] += 1
    recipe = Recipe(epochs=5, batch_size=20, lr=0.1)
    task = dataclasses.replace(
        make_task(net, (1, 12, 12), recipe, mechanism=mechanism),
        n_classes=2,
        data=TrainingData(images, labels, images[:10], labels[:10]),
        members=torch.arange(200)[None] < 100,
        sampling=recipe.sampling(100),
        checkpoints=(25,),
    )
    weights = AUTOGRAD.fit(task)[25]
    outputs = AUTOGRAD.logits(Ensemble(Network(net, (1, 12, 12), 2), weights), images)[0]
    assert (outputs.argmax(1) == labels)[100:].float().mean() > 0.9


def test_rewritten_torchvision_network_gives_per_example_gradients():
    """A residual addition in place would break Opacus' hooks: opacus issue 828."""
    pytest.importorskip("torchvision")
    recipe = dataclasses.replace(RECIPE, sampling_rate=1.0)
    net, shape = Torchvision(factory="resnet18"), (3, 32, 32)
    task = make_task(net, shape, recipe, mechanism=CLIP)
    task = dataclasses.replace(task, members=torch.arange(N)[None] < 2)
    total = clipped_sum(started(task), task, torch.arange(2), CLIP.max_grad_norm)
    expected = torch.cat([value.flatten() for value in total]) / task.sampling.batch
    assert relative(one_step(task), expected) < 1e-3  # differences of weights round at 1e-8
