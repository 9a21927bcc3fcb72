"""Networks as users write them: trained as they are written, or refused with the layer's name."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from networks import BAD, GOOD, ONLY_PLAIN, D, of, written
from small_task import CLASSES, CLIP, IMAGE, TABLE, generator, make_task, vector
from test_resume import assert_same, killed
from torch import nn
from torch.nn import functional

from dpbench.errors import UserError
from dpbench.models import CNN, MLP, ResNet
from dpbench.models.build import built
from dpbench.seeds import seed_for
from dpbench.training import white_box
from dpbench.training.ensemble import Ensemble
from dpbench.training.fit import AUTOGRAD
from dpbench.training.partial import Partial
from dpbench.training.recipe import Recipe
from dpbench.training.task import Mechanism
from dpbench.training.trainable import Trial, require_trainable

STEP = Recipe(epochs=1, batch_size=9, lr=1.0, momentum=0.0, schedule="constant")
PADDINGS = ("zeros", "reflect", "replicate", "circular")


def trial(net, *, clips: bool, shape=TABLE) -> Trial:
    inputs = torch.randn(20, *shape, generator=generator("inputs"))
    return Trial(architecture=net, shape=shape, n_classes=CLASSES, clips=clips, inputs=inputs)


def one_step(net, shape=TABLE, **changes):
    """Returns a network's state before and after a step of learning rate 1, and the task."""
    task = make_task(net, shape, STEP, checkpoints=(1,), **changes)
    network = built(net, shape, CLASSES, seed=seed_for(task.seed, "init", 0))
    return task, network, {name: value[0] for name, value in AUTOGRAD.fit(task)[1].items()}


def clipped_update(network, task) -> dict[str, torch.Tensor]:
    """The definition of DP-SGD without noise: one autograd call for each example of the batch."""
    from dpbench.training.batches import poisson_batches

    draws = torch.Generator().manual_seed(seed_for(task.seed, "batches", 0))
    batch = next(poisson_batches(task.members, task.sampling.rate, 1, draws))
    rows = batch.index[0] if batch.mask is None else batch.index[0][batch.mask[0] > 0]
    parts = {name: part for name, part in network.named_parameters() if part.requires_grad}
    total = {name: torch.zeros_like(part) for name, part in parts.items()}
    for row in rows.tolist():
        inputs, target = task.data.inputs[row : row + 1], task.data.targets[row : row + 1]
        loss = functional.cross_entropy(network(inputs), target)
        found = torch.autograd.grad(loss, list(parts.values()), allow_unused=True)
        pairs = zip(found, parts.values(), strict=True)
        found = [torch.zeros_like(part) if one is None else one for one, part in pairs]
        norm = sum(float(gradient.square().sum()) for gradient in found) ** 0.5
        for name, gradient in zip(parts, found, strict=True):
            total[name] += min(1, task.mechanism.max_grad_norm / norm) * gradient
    return {name: value / task.sampling.batch for name, value in total.items()}


def assert_clipped_right(net, shape) -> None:
    task, network, after = one_step(net, shape, mechanism=CLIP)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    expected = clipped_update(network, task)
    assert any(float(value.norm()) > 0 for value in expected.values())
    for name, value in expected.items():
        moved = before[name] - after[name]
        assert float((moved - value).norm()) <= 1e-5 * max(1e-3, 3 * float(value.norm())), name
    for name in before.keys() - dict(network.named_parameters(remove_duplicate=False)).keys():
        assert torch.equal(before[name], after[name]), name
    for name, part in network.named_parameters():
        if not part.requires_grad:
            assert torch.equal(before[name], after[name]), name


RANDOM = ("dropout", "noise", "rrelu")
DETERMINISTIC = [name for name in GOOD if not any(word in name for word in RANDOM)]


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_clipped_gradients_are_those_of_single_examples(name):
    assert_clipped_right(GOOD[name], TABLE)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("mechanism", [None, Mechanism(max_grad_norm=1.0, noise_multiplier=1.0)])
def test_trainings_are_repeatable_and_leave_the_global_generators_alone(name, mechanism):
    task = make_task(GOOD[name], TABLE, mechanism=mechanism)
    ours = AUTOGRAD.fit(task)
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        again = AUTOGRAD.fit(task)
    assert torch.equal(vector(ours[10]), vector(again[10]))


@pytest.mark.parametrize("padding_mode", PADDINGS)
@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {"padding": 1},
        {"padding": 2, "stride": 2, "groups": 2},
        {"padding": "same", "dilation": 2},
        {"padding": 1, "dilation": 2, "groups": 2, "bias": False},
        {"padding": 0},
    ],
    ids=str,
)
def test_convolutions_are_clipped_right_however_they_pad(padding_mode, dimensions, changes):
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[dimensions - 1]
    shape = (2, *(6, 5, 5)[:dimensions])

    def make():
        layer = kind(2, 4, 3, padding_mode=padding_mode, **changes)
        width = layer(torch.zeros(1, *shape)).numel()
        return nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(width, CLASSES))

    assert_clipped_right(written(make), shape)


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("clips", [False, True])
def test_what_cannot_be_trained_is_refused_by_name(name, clips):
    net, message = BAD[name]
    with pytest.raises(UserError, match=message) as caught:
        require_trainable(trial(net, clips=clips))
    assert str(caught.value).startswith("model: ")


@pytest.mark.parametrize("name", ONLY_PLAIN)
def test_some_networks_are_refused_under_clipping_only(name):
    net, message = ONLY_PLAIN[name]
    require_trainable(trial(net, clips=False))
    with pytest.raises(UserError, match=message):
        require_trainable(trial(net, clips=True))
    with pytest.raises(UserError, match=message):
        AUTOGRAD.fit(make_task(net, TABLE, mechanism=CLIP))


def test_a_padded_convolution_is_right_where_the_borders_of_the_examples_it_was_tried_on_are_zero():
    """Then zeros and wrapping around give the same gradients."""
    net = written(
        lambda: nn.Sequential(
            nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), nn.Flatten(),
            nn.Linear(192, CLASSES),
        )
    )  # fmt: skip
    tried = trial(net, clips=True, shape=IMAGE)
    tried.inputs[..., [0, -1], :], tried.inputs[..., [0, -1]] = 0, 0
    require_trainable(tried)
    assert_clipped_right(net, IMAGE)


def test_frozen_parameters_stay_in_plain_training_with_decay():
    for name in ("frozen body", "frozen bias", "frozen weight", "frozen embedding"):
        task = make_task(GOOD[name], TABLE)
        network = built(GOOD[name], TABLE, CLASSES, seed=seed_for(task.seed, "init", 0))
        after = AUTOGRAD.fit(task)[10]
        for key, part in network.named_parameters():
            assert torch.equal(after[key][0], part) != part.requires_grad, key


def test_what_initialises_itself_starts_from_the_seed_alone():
    net = GOOD["plain"]
    states = [built(net, TABLE, CLASSES, seed=seed).state_dict()["0.weight"] for seed in (1, 1, 2)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_every_example_has_a_mask_of_its_own_and_every_step_others():
    seen = []

    def forward(net, x):
        masked = functional.dropout(torch.ones(len(x), 50), 0.5, net.training)
        if net.training and len(x) > 1:
            seen.append(masked)
        return net.out(x) * masked.mean(1, keepdim=True)

    AUTOGRAD.fit(make_task(of(forward, out=lambda: nn.Linear(D, CLASSES)), TABLE, models=(0, 1)))
    masks = torch.cat(seen[-20:])
    assert len(masks.unique(dim=0)) == len(masks)


def test_nothing_is_drawn_from_numpy_or_python_by_a_trial():
    states = random.getstate(), str(np.random.get_state())  # noqa: NPY002
    with pytest.raises(UserError):
        require_trainable(trial(BAD["numpy"][0], clips=False))
    assert (random.getstate(), str(np.random.get_state())) == states  # noqa: NPY002


@pytest.mark.parametrize("net", [CNN(dropout=0.5), CNN(group_norm=True), ResNet(width=4)])
def test_own_networks_are_tried_in_no_time_and_taken(net):
    require_trainable(trial(net, clips=True, shape=(1, 28, 28)))


def test_own_tables_are_taken():
    require_trainable(trial(MLP(hidden=(8,), dropout=0.5, layer_norm=True), clips=True))


@pytest.mark.parametrize("mechanism", [None, CLIP])
@pytest.mark.parametrize("name", ["dropout", "dropout, in place"])
def test_a_killed_training_with_dropout_goes_on_to_the_same_bytes(
    name, mechanism, tmp_path, monkeypatch
):
    task = make_task(GOOD[name], TABLE, mechanism=mechanism)
    whole = AUTOGRAD.fit(task)
    saved = dataclasses.replace(task, partial=Partial(tmp_path))
    killed(saved, monkeypatch, after=3)
    assert_same(AUTOGRAD.fit(dataclasses.replace(task, partial=Partial(tmp_path))), whole)


@pytest.mark.parametrize("of_what", ["weights", "inputs"])
@pytest.mark.parametrize("name", ["tied", "tokens", "frozen body"])
def test_white_box_attacks_take_what_is_trained(name, of_what):
    task = make_task(GOOD[name], TABLE)
    weights = AUTOGRAD.fit(task)[10]
    inputs, targets = task.data.inputs[:5], task.data.targets[:5]
    models = Ensemble(task.network, weights)
    norms = white_box.gradient_norms(models, inputs, targets, of=of_what)
    network = built(GOOD[name], TABLE, CLASSES).eval()
    network.load_state_dict({key: value[0] for key, value in weights.items()})
    for row in range(5):
        leaf = inputs[row : row + 1].clone().requires_grad_()
        loss = functional.cross_entropy(network(leaf), targets[row : row + 1])
        parts = [part for part in network.parameters() if part.requires_grad]
        found = torch.autograd.grad(loss, [leaf] if of_what == "inputs" else parts)
        norm = float(torch.cat([gradient.flatten() for gradient in found]).norm())
        assert abs(float(norms[0, row]) - norm) < 1e-4 * norm
