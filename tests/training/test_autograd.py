"""The autograd engine against plain loops, per-example loops and Opacus' own loop."""

import dataclasses
import math
import warnings

import pytest
import torch
from scipy import stats
from torch import nn
from torch.nn import functional

from dpbench.errors import UserError
from dpbench.models import CNN, MLP, Architecture, ResNet, Softmax, Torchvision
from dpbench.seeds import seed_for
from dpbench.training import autograd
from dpbench.training.batches import poisson_batches, shuffled_batches
from dpbench.training.recipe import Recipe
from dpbench.training.schedule import learning_rates
from dpbench.training.task import Diverged, Mechanism, Snapshots, Task, TrainingData

N, CLASSES, STEPS, SEED = 60, 4, 10, 7
TABLE, IMAGE = (6,), (2, 8, 8)
RECIPE = Recipe(epochs=3, batch_size=9, lr=0.2, momentum=0.9, weight_decay=0.01)
CLIP = Mechanism(max_grad_norm=0.5, noise_multiplier=0.0)
SMALL_CNN = CNN(width=3, hidden=6, group_norm=True, activation="tanh")
NETS = [
    (Softmax(), TABLE),
    (MLP(hidden=(5,), layer_norm=True, activation="tanh"), TABLE),
    (SMALL_CNN, IMAGE),
    (CNN(width=4, hidden=16, pool="max"), IMAGE),
    (ResNet(width=4), IMAGE),
]
nets = pytest.mark.parametrize(("net", "shape"), NETS, ids=[net.label() for net, _ in NETS])


def generator(*path: str | int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_for(SEED, *path))


def make_task(
    net: Architecture, shape: tuple[int, ...], recipe: Recipe = RECIPE, **changes: object
) -> Task:
    inputs = torch.randn(N, *shape, generator=generator("inputs"))
    targets = torch.randint(0, CLASSES, (N,), generator=generator("targets"))
    models = changes.pop("models", (0,))
    task = Task(
        architecture=net,
        shape=shape,
        n_classes=CLASSES,
        recipe=recipe,
        sampling=recipe.sampling(N / 2)._replace(steps=STEPS),
        mechanism=None,
        loss=None,
        regularise=None,
        data=TrainingData(inputs, targets, inputs[:20], targets[:20]),
        members=torch.rand(len(models), N, generator=generator("members")) < 0.5,
        seed=SEED,
        models=models,
        checkpoints=(STEPS,),
    )
    return dataclasses.replace(task, **changes)


def started(task: Task, model: int = 0) -> nn.Module:
    return task.architecture.build(task.shape, task.n_classes, generator("init", model))


def vector(weights: dict[str, torch.Tensor], model: int = 0) -> torch.Tensor:
    return torch.cat([value[model].flatten() for value in weights.values()])


def parameters_of(network: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in network.state_dict().values()])


def relative(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).norm() / theirs.norm())


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
    weights = autograd.fit(dataclasses.replace(task, recipe=recipe, checkpoints=(1,)))[1]
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
    assert relative(vector(autograd.fit(task)[STEPS]), parameters_of(network)) < 1e-5
    assert_every_layer_learns(task)


@nets
def test_private_training_without_noise_is_the_per_example_loop(net, shape):
    task = make_task(net, shape, mechanism=CLIP)
    network = started(task)

    def gradient_of(rows):
        total = clipped_sum(network, task, rows, CLIP.max_grad_norm)
        return [value / task.sampling.batch for value in total]

    sgd(network, task, gradient_of)
    assert relative(vector(autograd.fit(task)[STEPS]), parameters_of(network)) < 1e-5
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
    assert relative(vector(autograd.fit(task)[STEPS]), parameters_of(network)) < 1e-5


def one_step(task: Task) -> torch.Tensor:
    """The averaged gradient of a single step: lr 1, no momentum, no decay."""
    recipe = dataclasses.replace(RECIPE, lr=1.0, momentum=0.0, weight_decay=0.0)
    task = dataclasses.replace(task, recipe=recipe, checkpoints=(1,))
    return parameters_of(started(task)) - vector(autograd.fit(task)[1])


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
    kept = autograd.fit(task)
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
    expected = vector(autograd.fit(task)[STEPS])
    inputs = task.data.inputs
    for other in (
        inputs.contiguous(memory_format=torch.channels_last),
        inputs.transpose(2, 3).contiguous().transpose(2, 3),
    ):
        assert not other.is_contiguous()
        changed = dataclasses.replace(task, data=task.data._replace(inputs=other))
        assert relative(vector(autograd.fit(changed)[STEPS]), expected) < 1e-5


@pytest.mark.parametrize("shape", [(3, 2, 4, 5), (3, 2, 1, 1), (3, 1, 4, 4), (1, 4, 2, 2)])
def test_convolution_inputs_get_the_strides_of_rows(shape):
    values = torch.randn(shape, generator=generator("values"))
    (laid_out,) = autograd._in_rows(
        nn.Identity(), (values.contiguous(memory_format=torch.channels_last),)
    )
    assert torch.equal(laid_out, values)
    assert laid_out.stride() == torch.empty(shape).stride()


@pytest.mark.parametrize("sigma", [0.0, 1.0])
def test_clipping_in_parts_changes_nothing(monkeypatch, sigma):
    mechanism = dataclasses.replace(CLIP, noise_multiplier=sigma)
    task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism)
    whole = vector(autograd.fit(task)[STEPS])
    monkeypatch.setattr(autograd, "_GRADIENTS_AT_ONCE", 2 * len(whole))
    assert max(len(rows) for rows in rows_of(task)) > 4
    assert relative(vector(autograd.fit(task)[STEPS]), whole) < 1e-5


@pytest.mark.parametrize("mechanism", [None, Mechanism(max_grad_norm=1.0, noise_multiplier=1.0)])
class TestBothPaths:
    def test_same_seed_same_bytes_and_models_do_not_depend_on_their_block(self, mechanism):
        net = MLP(hidden=(5,), dropout=0.4)
        task = make_task(net, TABLE, mechanism=mechanism, models=(4, 2))
        together = autograd.fit(task)[STEPS]
        for position, model in enumerate(task.models):
            one = dataclasses.replace(
                task, models=(model,), members=task.members[position : position + 1]
            )
            alone = autograd.fit(one)[STEPS]
            for name, value in together.items():
                assert torch.equal(alone[name][0], value[position])
        assert not torch.equal(vector(together, 0), vector(together, 1))

    def test_another_seed_is_another_training(self, mechanism):
        task = make_task(Softmax(), TABLE, mechanism=mechanism)
        other = dataclasses.replace(task, seed=SEED + 1)
        assert not torch.equal(
            vector(autograd.fit(task)[STEPS]), vector(autograd.fit(other)[STEPS])
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
            vector(autograd.fit(each)[STEPS]) for each in (task, expected, without)
        )
        assert relative(ours, decay) < 1e-5
        assert relative(ours, none) > 1e-3

    def test_one_hot_targets_are_labels(self, mechanism):
        task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism)
        soft = functional.one_hot(task.data.targets, CLASSES).float()
        other = dataclasses.replace(task, data=task.data._replace(targets=soft))
        assert (
            relative(vector(autograd.fit(other)[STEPS]), vector(autograd.fit(task)[STEPS])) < 1e-5
        )

    def test_a_loss_of_the_defense_is_used(self, mechanism):
        def cross_entropy(logits, targets):
            return -logits.log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1)

        task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism)
        same = dataclasses.replace(task, loss=cross_entropy)
        still = dataclasses.replace(task, loss=lambda logits, _: 0 * logits.sum(-1))
        expected = vector(autograd.fit(task)[STEPS])
        assert relative(vector(autograd.fit(same)[STEPS]), expected) < 1e-5
        assert relative(vector(autograd.fit(still)[STEPS]), expected) > 0.01

    def test_checkpoints_are_the_prefixes_of_one_training(self, mechanism):
        task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism, checkpoints=(3, 6, 10))
        kept = autograd.fit(task)
        assert list(kept) == [3, 6, 10]
        for step in (3, 6):
            shorter = autograd.fit(dataclasses.replace(task, checkpoints=(step,)))
            assert torch.equal(vector(shorter[step]), vector(kept[step]))

    def test_averaging_is_the_mean_of_the_last_steps(self, mechanism):
        every = tuple(range(1, STEPS + 1))
        task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism, checkpoints=every)
        path = autograd.fit(task)
        averaged = dataclasses.replace(task.recipe, averaging=0.4)
        kept = autograd.fit(dataclasses.replace(task, recipe=averaged, checkpoints=(5, 10)))
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
            autograd.fit(task)

    def test_a_rate_too_large_is_a_divergence(self, mechanism):
        recipe = dataclasses.replace(RECIPE, lr=1e30, weight_decay=1.0)
        with pytest.raises(Diverged):
            autograd.fit(make_task(SMALL_CNN, IMAGE, recipe, mechanism=mechanism))

    def test_progress_rises_to_one(self, mechanism):
        seen: list[float] = []
        autograd.fit(make_task(Softmax(), TABLE, mechanism=mechanism, models=(0, 1)), seen.append)
        assert seen == sorted(seen)
        assert seen[-1] == 1.0
        assert 0.5 in seen


def reference_losses(task: Task, kept: Snapshots) -> dict[int, float]:
    losses = {}
    for step, weights in kept.items():
        outputs = autograd.logits(
            task.architecture,
            weights,
            task.data.reference_inputs,
            shape=task.shape,
            n_classes=CLASSES,
        )
        losses[step] = float(functional.cross_entropy(outputs[0], task.data.reference_targets))
    return losses


@pytest.mark.parametrize("patience", [1, 2, 50])
def test_patience_releases_the_best_epoch(patience):
    recipe = dataclasses.replace(RECIPE, batch_size=15, lr=0.5, weight_decay=0.0)
    task = make_task(MLP(hidden=(30,)), TABLE, recipe)  # two steps an epoch
    noise = torch.randn(200, *TABLE, generator=generator("reference"))
    labels = torch.randint(0, CLASSES, (200,), generator=generator("reference labels"))
    task = dataclasses.replace(
        task,
        data=task.data._replace(reference_inputs=noise, reference_targets=labels),
        sampling=task.sampling._replace(steps=20),
        checkpoints=(20,),
    )
    epochs = tuple(range(2, 21, 2))
    path = autograd.fit(dataclasses.replace(task, checkpoints=epochs))
    losses = reference_losses(task, path)
    best, waited = epochs[0], 0
    for step in epochs[1:]:
        best, waited = (step, 0) if losses[step] < losses[best] else (best, waited + 1)
        if waited == patience:
            break
    assert best < 20
    stopping = dataclasses.replace(recipe, patience=patience)
    kept = autograd.fit(dataclasses.replace(task, recipe=stopping))
    assert list(kept) == [20]
    assert torch.equal(vector(kept[20]), vector(path[best]))


def test_patience_with_early_checkpoints_keeps_every_key():
    recipe = dataclasses.replace(RECIPE, patience=1, lr=5.0)
    task = make_task(MLP(hidden=(30,)), TABLE, recipe, checkpoints=(2, 9, STEPS))
    assert list(autograd.fit(task)) == [2, 9, STEPS]


def test_snapshots_are_stacked_state_dicts():
    task = make_task(SMALL_CNN, IMAGE, models=(0, 1, 2))
    weights = autograd.fit(task)[STEPS]
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
    weights = autograd.fit(task)[STEPS]
    outputs = autograd.logits(net, weights, task.data.inputs, shape=IMAGE, n_classes=CLASSES)
    assert outputs.shape == (3, N, CLASSES)
    assert not outputs.requires_grad
    for model in range(3):
        network = net.build(IMAGE, CLASSES, generator())
        network.load_state_dict({name: value[model] for name, value in weights.items()})
        with torch.no_grad():
            assert torch.allclose(outputs[model], network.eval()(task.data.inputs), atol=1e-6)


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
    weights = autograd.fit(task)[25]
    outputs = autograd.logits(net, weights, images, shape=(1, 12, 12), n_classes=2)[0]
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


class _WithBatchNorm(Architecture):
    def build(self, shape, n_classes, generator):
        return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(math.prod(shape)))


def test_batch_norm_of_a_plugin_is_refused():
    with pytest.raises(UserError, match="BatchNorm1d"):
        autograd.fit(make_task(_WithBatchNorm(), TABLE))
