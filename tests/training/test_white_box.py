"""Gradient norms and slopes against slow per-example loops, and between their own paths."""

import numpy as np
import pytest
import torch
from small_task import CLASSES, SEED, SMALL_CNN, generator, make_task, started
from torch.nn import functional

from dpbench.models import CNN, MLP, ResNet, Softmax
from dpbench.models.network import Network
from dpbench.training import autograd, dense, white_box
from dpbench.training import features as feature_module
from dpbench.training.ensemble import Ensemble
from dpbench.training.white_box import TrainedModels, gradient_norms, initial_weights, slopes

MODELS, POINTS, TABLE, IMAGE = 3, 17, (6,), (2, 8, 8)
DENSE = [
    Softmax(),
    MLP(hidden=(8,)),
    MLP(hidden=(8, 6), activation="tanh", dropout=0.5),
    MLP(hidden=(8, 7), layer_norm=True),
]
CONVOLUTIONAL = [SMALL_CNN, CNN(width=3, hidden=6, pool="max", dropout=0.3), ResNet(width=4)]
NETS = [(net, TABLE) for net in DENSE] + [(net, IMAGE) for net in CONVOLUTIONAL]
every_net = pytest.mark.parametrize(
    ("net", "shape"), NETS, ids=lambda value: value.label() if hasattr(value, "label") else None
)


def models_of(net, weights, *, shape, n_classes):
    return Ensemble(Network(net, shape, n_classes), weights)


def setting(net, shape):
    """Random weights and directions, inputs, targets, and the facts that go with them."""
    drawn = generator("white box")
    stack = initial_weights(Network(net, shape, CLASSES), range(MODELS), seed=SEED)
    weights = {
        name: value + 0.1 * torch.randn(value.shape, generator=drawn)
        for name, value in stack.items()
    }
    along = {name: torch.randn(value.shape, generator=drawn) for name, value in stack.items()}
    inputs = torch.randn(POINTS, *shape, generator=drawn)
    targets = torch.randint(CLASSES, (POINTS,), generator=drawn)
    return weights, along, inputs, targets, {"shape": shape, "n_classes": CLASSES}


def slow(net, shape, weights, inputs, targets, along=None):
    """Norms in weights and inputs, and slopes: one backward pass in float64 for each example."""
    found = torch.zeros(3, MODELS, POINTS, dtype=torch.float64)
    for model in range(MODELS):
        module = net.build(shape, CLASSES, torch.Generator())
        module.load_state_dict({name: value[model] for name, value in weights.items()})
        module.double().eval()
        names = [name for name, _ in module.named_parameters()]
        for i in range(POINTS):
            example = inputs[i : i + 1].double().requires_grad_()
            loss = functional.cross_entropy(module(example), targets[i : i + 1])
            parts = torch.autograd.grad(loss, [*module.parameters(), example])
            found[0, model, i] = sum(part.square().sum() for part in parts[:-1]).sqrt()
            found[1, model, i] = parts[-1].norm()
            if along is not None:
                pairs = zip(parts[:-1], names, strict=True)
                found[2, model, i] = sum((part * along[name][model]).sum() for part, name in pairs)
    return found


def assert_close(found, expected, tolerance=1e-5):
    error = (found - expected).abs() / expected.abs().clamp_min(1e-3 * expected.abs().mean())
    assert float(error.max()) < tolerance


@every_net
def test_norms_are_those_of_a_loop(net, shape, monkeypatch):
    weights, _, inputs, targets, facts = setting(net, shape)
    expected = slow(net, shape, weights, inputs, targets)
    monkeypatch.setattr(white_box, "_EXAMPLES_AT_ONCE", 5)
    monkeypatch.setattr(white_box, "_DENSE_MODELS_AT_ONCE", 2)
    monkeypatch.setattr(white_box, "_GRADIENTS_AT_ONCE", 5000)
    for of, rows in (("weights", expected[0]), ("inputs", expected[1])):
        found = gradient_norms(models_of(net, weights, **facts), inputs, targets, of=of)
        assert found.shape == (MODELS, POINTS)
        assert found.dtype == torch.float64
        assert_close(found, rows)


@pytest.mark.parametrize("net", DENSE, ids=lambda net: net.label())
def test_ghost_norms_are_those_of_gradients_that_exist(net, monkeypatch):
    weights, _, inputs, targets, facts = setting(net, TABLE)
    ghost = gradient_norms(models_of(net, weights, **facts), inputs, targets)
    monkeypatch.setattr(Network, "dense_layers", None)
    assert_close(gradient_norms(models_of(net, weights, **facts), inputs, targets), ghost)


@every_net
def test_slopes_are_those_of_a_loop(net, shape, monkeypatch):
    weights, along, inputs, targets, facts = setting(net, shape)
    expected = slow(net, shape, weights, inputs, targets, along)[2]
    monkeypatch.setattr(white_box, "_EXAMPLES_AT_ONCE", 5)
    found = slopes(models_of(net, weights, **facts), along, inputs, targets)
    # Slopes near zero are differences of larger terms: their size is the scale of the error.
    assert float((found - expected).abs().max() / expected.abs().mean()) < 1e-5


def test_slopes_are_linear_in_the_direction_and_zero_along_nothing():
    net = MLP(hidden=(8,))
    weights, along, inputs, targets, facts = setting(net, TABLE)
    once = slopes(models_of(net, weights, **facts), along, inputs, targets)
    longer = {name: -3 * value for name, value in along.items()}
    nowhere = {name: 0 * value for name, value in along.items()}
    assert_close(slopes(models_of(net, weights, **facts), longer, inputs, targets), -3 * once)
    assert not slopes(models_of(net, weights, **facts), nowhere, inputs, targets).any()


@pytest.mark.parametrize("net", [Softmax(), MLP(hidden=(8,))], ids=["softmax", "mlp"])
def test_norms_keep_their_digits_where_the_confidence_rounds_to_one(net):
    weights, _, inputs, targets, facts = setting(net, TABLE)
    targets = torch.zeros_like(targets)
    bias = list(weights)[-1]

    def norms(of, margin):
        # In single precision p_y rounds to 1 from a margin of 17, and 1 - p_y to 0 from 104.
        moved = {name: value.clone() for name, value in weights.items()}
        moved[bias][:, 0] += margin
        return gradient_norms(models_of(net, moved, **facts), inputs, targets, of=of)

    for of in ("weights", "inputs"):
        found = norms(of, 120)
        assert len(found.unique()) == found.numel()
        assert_close(found, norms(of, 20) * torch.e**-100, tolerance=1e-4)


def test_initial_weights_are_those_of_both_engines():
    net = MLP(hidden=(8,))
    task = make_task(net, TABLE, models=(0, 1, 2))
    ours = initial_weights(task.network, range(3), seed=SEED)
    for name, value in dense._initial(task, slice(None)).items():
        assert torch.equal(ours[name], value)
    cnn = make_task(SMALL_CNN, IMAGE, models=(0, 1))
    ours = initial_weights(cnn.network, range(2), seed=SEED)
    for position in range(2):
        kept = autograd._Training(cnn, autograd._on_device(cnn), position).network.state_dict()
        for name, value in started(cnn, position).state_dict().items():
            assert torch.equal(ours[name][position], value)
            assert torch.equal(ours[name][position], kept[name])


@every_net
def test_trained_models_speak_numpy_and_agree_with_the_functions(net, shape):
    weights, along, inputs, targets, facts = setting(net, shape)
    models = models_of(net, weights, **facts)
    shown = TrainedModels(models=models, inputs=inputs, labels=targets, seed=SEED)
    assert shown.linear == isinstance(net, Softmax)
    flat, start = shown.weights(), shown.initial_weights()
    size = sum(value[0].numel() for value in weights.values())
    assert flat.shape == start.shape == (MODELS, size)
    assert shown.logits().shape == (MODELS, POINTS, CLASSES)
    for of in ("weights", "inputs"):
        expected = gradient_norms(models_of(net, weights, **facts), inputs, targets, of=of)
        assert np.array_equal(shown.gradient_norms(of), expected)
    directions = torch.cat([value.flatten(1) for value in along.values()], 1).numpy()
    expected = slopes(models_of(net, weights, **facts), along, inputs, targets)
    assert np.array_equal(shown.slopes(flat, directions), expected)
    # Weights are a copy: what an attack does to them changes no model.
    flat *= 0
    assert not np.array_equal(shown.weights(), flat)


def test_a_linear_model_is_linear_in_its_flattened_weights():
    weights, _, inputs, targets, _ = setting(Softmax(), TABLE)
    mean = {name: value.mean(0, keepdim=True) for name, value in weights.items()}
    apart, together = (
        TrainedModels(
            models=models_of(Softmax(), one, shape=TABLE, n_classes=CLASSES),
            inputs=inputs,
            labels=targets,
            seed=SEED,
        ).logits()
        for one in (weights, mean)
    )
    np.testing.assert_allclose(apart.mean(0), together[0], rtol=1e-5, atol=1e-6)


@every_net
def test_features_and_head_make_the_logits(net, shape, monkeypatch):
    monkeypatch.setattr(feature_module, "_EXAMPLES_AT_ONCE", 5)
    monkeypatch.setattr(feature_module, "_DENSE_MODELS_AT_ONCE", 2)
    weights, _, inputs, targets, facts = setting(net, shape)
    public = torch.randn(4, *shape, generator=generator("public"))
    facts = {"models": models_of(net, weights, **facts), "seed": SEED}
    shown = TrainedModels(inputs=inputs, labels=targets, reference=public, **facts)
    asked = TrainedModels(inputs=public, labels=targets[:4], **facts)
    head = shown.head().astype(float)
    assert shown.has_head
    for of, logits in (("challenge", shown.logits()), ("reference", asked.logits())):
        features = shown.features(of)
        assert features.dtype == np.float32
        made = features @ head[..., :-1].swapaxes(1, 2) + head[:, None, :, -1]
        np.testing.assert_allclose(made, logits, rtol=1e-4, atol=1e-5)
        with pytest.raises(ValueError, match="read-only"):
            features[0] = 0
    assert asked.features("reference").shape == (MODELS, 0, head.shape[2] - 1)
    if isinstance(net, Softmax):
        assert np.array_equal(shown.features("challenge")[1], inputs.flatten(1))


def test_a_network_that_ends_otherwise_has_no_head():
    class Tempered(torch.nn.Module):
        def __init__(self, network):
            super().__init__()
            self.network = network

        def forward(self, inputs):
            return self.network(inputs) / 2

    class Ends(CNN):
        name = "ends_otherwise"

        def build(self, shape, n_classes, generator):
            return Tempered(super().build(shape, n_classes, generator))

    assert feature_module.head_name(Network(Ends(), IMAGE, CLASSES)) is None
    assert feature_module.head_name(Network(CNN(), IMAGE, CLASSES)) == "9"


def slow_influences(net, shape, weights, inputs, targets, places):
    """One backward pass in float64 for each model, example and place."""
    found = torch.zeros(MODELS, POINTS, inputs[0].numel(), dtype=torch.float64)
    for model in range(MODELS):
        module = net.build(shape, CLASSES, torch.Generator())
        module.load_state_dict({name: value[model] for name, value in weights.items()})
        module.double().eval()
        for i in range(POINTS):
            for place in places:
                example = (place * inputs[i : i + 1].double()).requires_grad_()
                logits = module(example)[0]
                (part,) = torch.autograd.grad(logits[targets[i]] - logits.mean(), example)
                found[model, i] += part.flatten() / len(places)
    return found


@every_net
@pytest.mark.parametrize(("steps", "places"), [(1, [1.0]), (2, [0.25, 0.75])])
def test_influences_are_those_of_a_loop(net, shape, steps, places):
    weights, _, inputs, targets, facts = setting(net, shape)
    facts = {"models": models_of(net, weights, **facts), "seed": SEED}
    shown = TrainedModels(inputs=inputs, labels=targets, **facts)
    blocks = list(shown.influences(at_once=5, steps=steps))
    assert [block.shape[1] for block in blocks] == [5, 5, 5, 2]
    found = torch.from_numpy(np.concatenate(blocks, axis=1)).double()
    expected = slow_influences(net, shape, weights, inputs, targets, places)
    # A rounding error on the wrong side of a kink moves a whole gradient: none may be far off.
    assert float((found - expected).abs().max() / expected.abs().mean()) < 1e-3


def test_influences_on_the_path_from_zero_add_up_to_what_the_logit_gains():
    net = MLP(hidden=(8, 6), activation="tanh")
    weights, _, inputs, targets, facts = setting(net, TABLE)
    facts = {"models": models_of(net, weights, **facts), "seed": SEED}

    def centred(moved):
        logits = TrainedModels(inputs=moved, labels=targets, **facts).logits().astype(float)
        return logits[:, np.arange(POINTS), targets] - logits.mean(2)

    shown = TrainedModels(inputs=inputs, labels=targets, **facts)
    path = np.concatenate(list(shown.influences(at_once=50, steps=64)), axis=1)
    gained = centred(inputs) - centred(0 * inputs)
    np.testing.assert_allclose((path * inputs.numpy()).sum(2), gained, atol=1e-3)
