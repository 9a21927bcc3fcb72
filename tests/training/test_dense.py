"""The dense engine against plain loops, per-example loops and Opacus."""

import dataclasses
import warnings

import pytest
import torch
from torch import nn

from dpbench.models import MLP, Softmax
from dpbench.models.base import Architecture
from dpbench.models.network import Network
from dpbench.training import dense
from dpbench.training.batches import poisson_batches, shuffled_batches
from dpbench.training.dense_net import DenseNet
from dpbench.training.ensemble import Ensemble
from dpbench.training.fit import DENSE, predict
from dpbench.training.recipe import Recipe
from dpbench.training.schedule import learning_rates
from dpbench.training.task import Diverged, Mechanism, Task, TrainingData

D, C, N, K, STEPS = 12, 5, 60, 3, 10
NETS: list[Architecture] = [
    Softmax(),
    MLP(hidden=(8,)),
    MLP(hidden=(8, 6), activation="tanh"),
    MLP(hidden=(8, 7, 6), layer_norm=True),
    MLP(hidden=(8,), layer_norm=True, activation="tanh"),
]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_task(architecture: Architecture, **changes: object) -> Task:
    inputs = torch.randn(N, D, generator=generator(1))
    targets = torch.randint(0, C, (N,), generator=generator(2))
    recipe = changes.pop("recipe", Recipe(epochs=5, batch_size=10, lr=0.1, momentum=0.9))
    mechanism = changes.pop("mechanism", None)
    task = Task(
        architecture=architecture,
        shape=(D,),
        n_classes=C,
        recipe=recipe,
        sampling=recipe.sampling(N / 2)._replace(steps=STEPS),
        mechanism=mechanism,
        loss=None,
        regularise=None,
        data=TrainingData(inputs, targets, inputs[:20], targets[:20]),
        members=torch.rand(K, N, generator=generator(3)) < 0.5,
        seed=7,
        models=tuple(range(K)),
        checkpoints=(STEPS,),
    )
    return dataclasses.replace(task, **changes)


def modules(task: Task) -> list[nn.Module]:
    """The K modules as a fresh task starts them."""
    start = dense._initial(task, slice(None))
    built = []
    for model in range(K):
        module = task.architecture.build(task.shape, task.n_classes, generator())
        module.load_state_dict({name: value[model].clone() for name, value in start.items()})
        built.append(module)
    return built


def rates(task: Task) -> list[float]:
    return learning_rates(task.recipe, task.sampling)


def same_batches(task: Task) -> list:
    seeded = dense._Chunk(task, slice(0, K))._generator("batches")
    if task.mechanism is None:
        return list(shuffled_batches(task.members, round(task.sampling.batch), STEPS, seeded))
    return list(poisson_batches(task.members, task.sampling.rate, STEPS, seeded))


def assert_same(weights: dict, built: list[nn.Module], tolerance: float = 1e-5) -> None:
    for model, module in enumerate(built):
        for name, value in module.state_dict().items():
            torch.testing.assert_close(
                weights[name][model], value, rtol=tolerance, atol=tolerance, msg=name
            )


@pytest.fixture(autouse=True)
def _side_by_side(monkeypatch):
    """Trains all K models in one chunk, so that the tests can replay its batches."""
    monkeypatch.setattr(dense.DenseEngine, "models_at_once", lambda *_: K)


@pytest.mark.parametrize("architecture", NETS, ids=lambda net: net.label())
@pytest.mark.parametrize("weight_decay", [0.0, 0.02])
def test_sgd_equals_a_plain_loop(architecture, weight_decay):
    task = make_task(
        architecture,
        recipe=Recipe(epochs=5, batch_size=10, lr=0.1, momentum=0.9, weight_decay=weight_decay),
    )
    built = modules(task)
    for model, module in enumerate(built):
        optimizer = torch.optim.SGD(
            module.parameters(), lr=0.1, momentum=0.9, weight_decay=weight_decay
        )
        for batch, rate in zip(same_batches(task), rates(task), strict=False):
            optimizer.param_groups[0]["lr"] = rate
            rows = batch.index[model]
            loss = nn.functional.cross_entropy(
                module(task.data.inputs[rows]), task.data.targets[rows]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert_same(DENSE.fit(task)[STEPS], built)


def clipped_sum(module: nn.Module, inputs, targets, norm: float) -> list[torch.Tensor]:
    """The slow way: one backward pass per example."""
    total = [torch.zeros_like(p) for p in module.parameters()]
    for x, y in zip(inputs, targets, strict=True):
        loss = nn.functional.cross_entropy(module(x[None]), y[None])
        gradient = torch.autograd.grad(loss, list(module.parameters()))
        length = torch.sqrt(sum(g.square().sum() for g in gradient))
        for sum_, g in zip(total, gradient, strict=True):
            sum_ += g * min(1.0, norm / float(length))
    return total


@pytest.mark.parametrize("architecture", NETS, ids=lambda net: net.label())
@pytest.mark.parametrize("norm", [0.3, 100.0])
def test_dp_sgd_without_noise_equals_a_per_example_loop(architecture, norm):
    mechanism = Mechanism(max_grad_norm=norm, noise_multiplier=0.0)
    recipe = Recipe(epochs=5, batch_size=10, lr=0.1, momentum=0.5, weight_decay=0.01)
    task = make_task(architecture, mechanism=mechanism, recipe=recipe)
    built = modules(task)
    for model, module in enumerate(built):
        velocity = [torch.zeros_like(p) for p in module.parameters()]
        for batch, rate in zip(same_batches(task), rates(task), strict=False):
            rows = batch.index[model]
            rows = rows if batch.mask is None else rows[batch.mask[model] > 0]
            total = clipped_sum(module, task.data.inputs[rows], task.data.targets[rows], norm)
            with torch.no_grad():
                for p, v, g in zip(module.parameters(), velocity, total, strict=True):
                    v.mul_(0.5).add_(g / task.sampling.batch).add_(p, alpha=0.01)
                    p.sub_(rate * v)
    assert_same(DENSE.fit(task)[STEPS], built)


@pytest.mark.oracle
@pytest.mark.parametrize("architecture", NETS[:3], ids=lambda net: net.label())
def test_dp_sgd_without_noise_equals_opacus(architecture):
    opacus = pytest.importorskip("opacus")
    from opacus.optimizers import DPOptimizer

    task = make_task(
        architecture,
        mechanism=Mechanism(max_grad_norm=0.5, noise_multiplier=0.0),
        recipe=Recipe(epochs=5, batch_size=10, lr=0.1, momentum=0.9),
    )
    built = modules(task)
    for model, module in enumerate(built):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wrapped = opacus.GradSampleModule(module)
            optimizer = DPOptimizer(
                torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9),
                noise_multiplier=0.0,
                max_grad_norm=0.5,
                expected_batch_size=task.sampling.batch,
            )
            for batch, rate in zip(same_batches(task), rates(task), strict=False):
                optimizer.param_groups[0]["lr"] = rate
                rows = batch.index[model]
                rows = rows if batch.mask is None else rows[batch.mask[model] > 0]
                optimizer.zero_grad()
                out = wrapped(task.data.inputs[rows])
                nn.functional.cross_entropy(out, task.data.targets[rows]).backward()
                optimizer.step()
            wrapped.remove_hooks()
    # Opacus divides by norm + 1e-6 instead of the norm.
    assert_same(DENSE.fit(task)[STEPS], built, tolerance=3e-5)


def test_noise_has_the_stated_deviation_and_a_fixed_denominator():
    """With no members there is only noise: lr * sigma * C / batch per step and coordinate."""
    mechanism = Mechanism(max_grad_norm=2.0, noise_multiplier=1.5)
    task = make_task(
        MLP(hidden=(64,)),
        mechanism=mechanism,
        members=torch.zeros(K, N, dtype=torch.bool),
        recipe=Recipe(epochs=5, batch_size=10, lr=0.1, momentum=0.0, schedule="constant"),
    )
    start = dense._initial(task, slice(None))
    end = DENSE.fit(task)[STEPS]
    moved = torch.cat([(end[name] - start[name]).flatten() for name in end])
    expected = 0.1 * 1.5 * 2.0 / 10 * STEPS**0.5
    assert moved.mean().abs() < 4 * expected / len(moved) ** 0.5
    assert moved.std() == pytest.approx(expected, rel=4 / (2 * len(moved)) ** 0.5)


def test_the_denominator_does_not_depend_on_the_number_of_members():
    """Doubling everybody's copies doubles the update: nothing is averaged over those who came."""
    mechanism = Mechanism(max_grad_norm=0.5, noise_multiplier=0.0)
    recipe = Recipe(epochs=1, sampling_rate=1.0, lr=0.1, momentum=0.0, schedule="constant")
    base = make_task(Softmax(), mechanism=mechanism, recipe=recipe)
    sampling = base.sampling._replace(steps=1)
    half = torch.arange(N) < N // 2
    doubled = TrainingData(
        base.data.inputs[:30].repeat(2, 1), base.data.targets[:30].repeat(2), *base.data[2:]
    )
    moves = []
    for members in (half, torch.ones(N, dtype=torch.bool)):
        task = dataclasses.replace(
            base, data=doubled, members=members.expand(K, N), sampling=sampling, checkpoints=(1,)
        )
        start = dense._initial(task, slice(None))
        end = DENSE.fit(task)[1]
        moves.append(end["1.weight"] - start["1.weight"])
    torch.testing.assert_close(2 * moves[0], moves[1], rtol=1e-4, atol=1e-6)


def test_dropout_has_the_gradient_of_its_own_mask():
    architecture = MLP(hidden=(9, 8), dropout=0.4)
    layers = architecture.layers((D,), C)
    net = DenseNet(layers, models=2, capacity=6, device=torch.device("cpu"))
    task = make_task(architecture)
    net.load({name: value[:2] for name, value in dense._initial(task, slice(None)).items()})
    inputs = torch.randn(2, 6, D, generator=generator(5))
    net.input_rows(6).view(2, 6, -1)[..., :-1] = inputs
    logits = net.forward(generator(6)).clone()
    net.backward(torch.ones_like(logits))
    gradient = {name: torch.zeros_like(value) for name, value in net.parameters.items()}
    net.accumulate(gradient, beta=0.0, alpha=1.0)
    leaf = net.flat.clone().requires_grad_()
    weights = net.weights(leaf)
    hidden = inputs
    for number, layer in enumerate(layers):
        hidden = torch.einsum("kbi,koi->kbo", hidden, weights[f"{layer.linear}.weight"])
        hidden = hidden + weights[f"{layer.linear}.bias"][:, None]
        if layer.activation:
            hidden = hidden.relu() * net._drops[number]
    torch.testing.assert_close(hidden, logits, rtol=1e-5, atol=1e-6)
    (expected,) = torch.autograd.grad(hidden.sum(), leaf)
    for name, value in net.views(expected).items():
        torch.testing.assert_close(gradient[name], value, rtol=1e-4, atol=1e-5)
    kept = torch.cat([(mask > 0).float().flatten() for mask in net._drops if mask is not None])
    assert kept.mean() == pytest.approx(0.6, abs=0.12)


def test_a_custom_loss_takes_the_same_steps_as_the_closed_form():
    def cross_entropy(logits, targets):
        return nn.functional.cross_entropy(
            logits.flatten(0, -2), targets.flatten(), reduction="none"
        ).view(targets.shape)

    plain = make_task(NETS[1])
    custom = dataclasses.replace(plain, loss=cross_entropy)
    soft = plain.data._replace(targets=nn.functional.one_hot(plain.data.targets, C).float())
    first, second = DENSE.fit(plain)[STEPS], DENSE.fit(custom)[STEPS]
    third = DENSE.fit(dataclasses.replace(plain, data=soft))[STEPS]
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(first[name], third[name], rtol=1e-5, atol=1e-6)


def test_a_penalty_on_half_the_squared_weights_is_weight_decay():
    def half_square(weights):
        return sum(value.flatten(1).square().sum(1) for value in weights.values()) * 0.5 * 0.03

    recipe = Recipe(epochs=5, batch_size=10, lr=0.1, momentum=0.9)
    penalised = make_task(NETS[3], recipe=recipe, regularise=half_square)
    decayed = make_task(NETS[3], recipe=dataclasses.replace(recipe, weight_decay=0.03))
    first, second = DENSE.fit(penalised)[STEPS], DENSE.fit(decayed)[STEPS]
    for name in first:
        torch.testing.assert_close(first[name], second[name], rtol=1e-5, atol=1e-6)


def test_a_nan_loss_diverges():
    task = make_task(NETS[1], loss=lambda logits, targets: logits.sum(-1) * torch.nan)
    with pytest.raises(Diverged, match="not finite"):
        DENSE.fit(task)


def test_checkpoints_are_the_weights_of_a_shorter_training():
    task = make_task(NETS[1], checkpoints=(4, STEPS))
    both = DENSE.fit(task)
    short = DENSE.fit(dataclasses.replace(task, checkpoints=(4,)))
    for name, value in short[4].items():
        assert torch.equal(value, both[4][name])
        assert not torch.equal(value, both[STEPS][name])


def test_averaging_is_the_mean_of_the_last_iterates():
    every = tuple(range(1, STEPS + 1))
    recipe = Recipe(epochs=5, batch_size=10, lr=0.1)
    iterates = DENSE.fit(make_task(NETS[1], recipe=recipe, checkpoints=every))
    averaged = DENSE.fit(make_task(NETS[1], recipe=dataclasses.replace(recipe, averaging=0.3)))
    for name, value in averaged[STEPS].items():
        mean = sum(iterates[step][name] for step in (8, 9, 10)) / 3
        torch.testing.assert_close(value, mean, rtol=1e-5, atol=1e-6)


def test_patience_releases_each_models_best_epoch():
    recipe = Recipe(epochs=40, batch_size=10, lr=0.5, momentum=0.9, schedule="constant")
    task = make_task(NETS[1], recipe=recipe)
    steps, per_epoch = 60, 3
    sampling = task.sampling._replace(steps=steps)
    epochs = tuple(range(per_epoch, steps + 1, per_epoch))
    task = dataclasses.replace(task, sampling=sampling, checkpoints=epochs)
    # Reference labels independent of the inputs: the loss falls a little, then rises.
    iterates = DENSE.fit(task)
    losses = torch.stack([reference_loss(task, iterates[step]) for step in epochs])
    patient = dataclasses.replace(
        task, recipe=dataclasses.replace(recipe, patience=2), checkpoints=(steps,)
    )
    released = DENSE.fit(patient)[steps]
    for model in range(K):
        best, waited = 0, 0
        for epoch in range(1, len(epochs)):
            if losses[epoch, model] < losses[best, model]:
                best, waited = epoch, 0
            else:
                waited += 1
            if waited == 2:
                break
        for name, value in released.items():
            assert torch.equal(value[model], iterates[epochs[best]][name][model])


def reference_loss(task: Task, weights: dict) -> torch.Tensor:
    scores = predict(task, weights, task.data.reference_inputs)
    targets = task.data.reference_targets.expand(K, -1)
    return torch.stack(
        [nn.functional.cross_entropy(s, t) for s, t in zip(scores, targets, strict=True)]
    )


@pytest.mark.parametrize("architecture", NETS, ids=lambda net: net.label())
def test_logits_equal_the_modules(architecture):
    task = make_task(architecture)
    weights = dense._initial(task, slice(None))
    values = DENSE.logits(Ensemble(Network(architecture, (D,), C), weights), task.data.inputs)
    for model, module in enumerate(modules(task)):
        with torch.no_grad():
            torch.testing.assert_close(
                values[model], module(task.data.inputs), rtol=1e-5, atol=1e-6
            )


def test_training_is_deterministic():
    mechanism = Mechanism(max_grad_norm=1.0, noise_multiplier=1.0)
    first, second = (DENSE.fit(make_task(NETS[2], mechanism=mechanism)) for _ in range(2))
    for name, value in first[STEPS].items():
        assert torch.equal(value, second[STEPS][name])
