"""Every architecture: its shape, its initial weights, and the independence of its examples."""

import json
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from dpbench.component import REGISTRIES
from dpbench.errors import UserError
from dpbench.models import CNN, MLP, Architecture, ResNet, Softmax, Torchvision
from dpbench.models.dense_layer import DenseArchitecture
from dpbench.models.dropout import DrivenDropout, drive_dropout
from dpbench.models.group_norm import group_norm
from dpbench.models.initialise import initialise, materialise, require_no_batch_norm

IMAGE, TABLE = (3, 32, 32), (11,)
MODELS: list[tuple[Architecture, tuple[int, ...]]] = [
    (Softmax(), TABLE),
    (MLP(hidden=()), TABLE),
    (MLP(hidden=(8, 6), activation="tanh"), TABLE),
    (MLP(hidden=(8, 6), layer_norm=True), IMAGE),
    (CNN(width=4, hidden=8), (1, 28, 28)),
    (CNN(width=4, hidden=8, pool="max", group_norm=True, activation="tanh"), IMAGE),
    (ResNet(width=4), IMAGE),
    (ResNet(depth=2, width=3), (1, 9, 7)),
    (Torchvision(factory="resnet18"), IMAGE),
    (Torchvision(factory="squeezenet1_1"), IMAGE),
]
models = pytest.mark.parametrize(
    ("architecture", "shape"), MODELS, ids=[model.label() for model, _ in MODELS]
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def inputs(shape: tuple[int, ...], count: int = 3) -> torch.Tensor:
    return torch.randn(count, *shape, generator=generator(1))


@models
def test_logits_and_determinism(architecture, shape):
    first = architecture.build(shape, 5, generator(1))
    again = architecture.build(shape, 5, generator(1))
    other = architecture.build(shape, 5, generator(2))
    drive_dropout(first, generator())
    assert first.training
    assert first(inputs(shape)).shape == (3, 5)
    for name, value in first.state_dict().items():
        assert value.device.type == "cpu"
        assert torch.equal(value, again.state_dict()[name])
    assert any(
        not torch.equal(value, other.state_dict()[name])
        for name, value in first.state_dict().items()
    )


@models
def test_no_batch_norm_no_in_place_no_buffers(architecture, shape):
    network = architecture.build(shape, 5, generator())
    require_no_batch_norm(network)
    assert not list(network.buffers())
    assert not any(getattr(part, "inplace", False) for part in network.modules())
    assert not any(isinstance(part, nn.Dropout) for part in network.modules())


@models
def test_an_example_does_not_see_the_others_of_its_batch(architecture, shape):
    network = architecture.build(shape, 5, generator())
    network.train()
    data = inputs(shape)
    for part in network.modules():  # masks differ between calls, and are tested elsewhere
        if isinstance(part, DrivenDropout):
            part.eval()
    together = network(data)
    alone = torch.cat([network(example[None]) for example in data])
    assert torch.allclose(together, alone, atol=1e-5)


@models
def test_json_round_trip(architecture, shape):
    del shape
    values = json.loads(json.dumps(architecture.to_json()))
    kind = REGISTRIES["model"][architecture.name]
    assert kind.parse(values, where="model") == architecture


def test_registered_names():
    assert {"softmax", "mlp", "cnn", "resnet", "torchvision"} <= set(REGISTRIES["model"])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (MLP, {"hidden": [0]}),
        (MLP, {"dropout": 1.0}),
        (MLP, {"activation": "gelu"}),
        (CNN, {"pool": "sum"}),
        (ResNet, {"depth": 0}),
        (Softmax, {"hidden": [3]}),
    ],
)
def test_bad_fields_are_refused(kind, values):
    with pytest.raises(UserError, match=f"model.{next(iter(values))}"):
        kind.parse(values, where="model")


@pytest.mark.parametrize("architecture", [CNN(), ResNet(), Torchvision()])
def test_image_networks_refuse_tables(architecture):
    with pytest.raises(UserError, match="softmax for tables"):
        architecture.build(TABLE, 3, generator())


def test_cnn_refuses_images_too_small_for_its_pooling():
    with pytest.raises(UserError, match="at least 4"):
        CNN().build((1, 3, 8), 3, generator())


@given(
    st.lists(st.integers(1, 7), max_size=3),
    st.booleans(),
    st.sampled_from(["relu", "tanh"]),
    st.sampled_from([0.0, 0.5]),
)
def test_dense_layers_describe_the_module(hidden, layer_norm, activation, dropout):
    architecture = MLP(
        hidden=tuple(hidden), layer_norm=layer_norm, activation=activation, dropout=dropout
    )
    network = architecture.build((2, 3), 4, generator()).eval()
    state, values = network.state_dict(), inputs((2, 3)).reshape(3, 6)
    expected, used = network(inputs((2, 3))), set()
    for layer in architecture.layers((2, 3), 4):
        weight, bias = state[f"{layer.linear}.weight"], state[f"{layer.linear}.bias"]
        assert weight.shape == (layer.d_out, layer.d_in)
        used |= {f"{layer.linear}.weight", f"{layer.linear}.bias"}
        values = values @ weight.T + bias
        if layer.norm is not None:
            gain, shift = state[f"{layer.norm}.weight"], state[f"{layer.norm}.bias"]
            values = nn.functional.layer_norm(values, (layer.d_out,), gain, shift)
            used |= {f"{layer.norm}.weight", f"{layer.norm}.bias"}
        if layer.activation is not None:
            values = torch.relu(values) if layer.activation == "relu" else values.tanh()
        assert layer.dropout == (dropout if layer.activation else 0.0)
    assert torch.allclose(values, expected, atol=1e-6)
    assert used == set(state)


def test_softmax_is_an_mlp_without_hidden_layers():
    assert Softmax().layers(IMAGE, 4) == MLP(hidden=()).layers(IMAGE, 4)
    assert isinstance(Softmax(), DenseArchitecture)
    assert not isinstance(CNN(), DenseArchitecture)


@pytest.mark.parametrize(
    "construct",
    [lambda: nn.Linear(200, 60), lambda: nn.Conv2d(6, 60, 5), lambda: nn.Conv1d(9, 400, 3)],
)
def test_initial_weights_follow_torch_defaults(construct):
    """Same uniform law as `reset_parameters`: the closed form, and a draw of torch's own."""
    layer = materialise(construct, generator(3))
    with torch.random.fork_rng():
        reference = construct()
    for ours, theirs in ((layer.weight, reference.weight), (layer.bias, reference.bias)):
        bound = layer.weight[0].numel() ** -0.5
        values = ours.detach().flatten().numpy()
        assert abs(values).max() <= bound
        assert stats.kstest(values, stats.uniform(-bound, 2 * bound).cdf).pvalue > 1e-3
        assert stats.ks_2samp(values, theirs.detach().flatten().numpy()).pvalue > 1e-3


def test_initial_weights_of_two_layers_are_independent():
    network = materialise(lambda: nn.Sequential(nn.Linear(40, 40), nn.Linear(40, 40)), generator())
    first, second = (network[place].weight.detach().flatten() for place in (0, 1))
    assert abs(stats.pearsonr(first.numpy(), second.numpy()).statistic) < 0.1


def test_norm_layers_start_at_the_identity():
    for construct in (lambda: nn.LayerNorm(4), lambda: nn.GroupNorm(2, 4)):
        layer = materialise(construct, generator())
        assert layer.weight.tolist() == [1.0] * 4
        assert layer.bias.tolist() == [0.0] * 4
    assert (
        materialise(lambda: nn.LayerNorm(4, elementwise_affine=False), generator()).weight is None
    )


@pytest.mark.parametrize(
    ("construct", "named"),
    [
        (lambda: nn.BatchNorm2d(3), "BatchNorm2d"),
        (lambda: nn.Embedding(3, 2), "Embedding"),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.PReLU()), "PReLU"),
        (lambda: nn.InstanceNorm1d(3, track_running_stats=True), "InstanceNorm1d"),
    ],
)
def test_unknown_layers_are_refused(construct, named):
    with torch.device("meta"):
        module = construct()
    with pytest.raises(UserError, match=named):
        initialise(module, generator())


def test_dropout_keeps_the_expectation_and_obeys_its_generator():
    layer, data = DrivenDropout(0.3), torch.ones(200, 500)
    drive_dropout(layer, generator(4))
    first = layer(data)
    assert first.unique().tolist() == pytest.approx([0.0, 1 / 0.7])
    kept = int((first > 0).sum())
    assert stats.binomtest(kept, data.numel(), 0.7).pvalue > 1e-4
    assert not torch.equal(layer(data), first)
    drive_dropout(layer, generator(4))
    assert torch.equal(layer(data), first)
    assert layer.eval()(data) is data


def test_dropout_without_a_generator_does_not_fall_back_to_the_global_one():
    with pytest.raises(RuntimeError, match="drive_dropout"):
        DrivenDropout(0.5)(torch.ones(2))


def test_dropout_gradient_passes_through_the_kept_entries():
    layer, data = DrivenDropout(0.5), torch.ones(50, requires_grad=True)
    drive_dropout(layer, generator())
    outputs = layer(data)
    outputs.sum().backward()
    assert torch.equal(data.grad, outputs.detach())


@given(st.integers(1, 600))
def test_group_norm_groups(channels):
    layer = group_norm(channels)
    assert channels % layer.num_groups == 0
    assert layer.num_groups <= 16
    assert channels == 1 or channels // layer.num_groups >= 2


def test_group_norm_uses_sixteen_groups_where_it_can():
    assert [group_norm(channels).num_groups for channels in (8, 16, 32, 64, 96)] == [
        4,
        8,
        16,
        16,
        16,
    ]


@pytest.mark.parametrize("factory", ["resnet18", "alexnet", "mobilenet_v3_small"])
def test_torchvision_names_and_outputs_are_its_own(factory):
    """The rewritten network computes what torchvision's own code computes on the same weights."""
    torchvision = pytest.importorskip("torchvision")
    shape = (3, 64, 64)
    ours = Torchvision(factory=factory).build(shape, 4, generator()).eval()
    options = {"norm_layer": group_norm} if "net" in factory and factory != "alexnet" else {}
    with torch.random.fork_rng():
        theirs = getattr(torchvision.models, factory)(weights=None, num_classes=4, **options)
    theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        assert torch.allclose(ours(inputs(shape)), theirs.eval()(inputs(shape)), atol=1e-5)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("densenet121", "BatchNorm2d"),
        ("vgg11_bn", "BatchNorm2d"),
        ("efficientnet_b0", "stochastic depth"),
        ("regnet_x_400mf", "rewritten"),
        ("vit_b_32", "shape"),
        ("resnet81", "did you mean 'resnet18'"),
    ],
)
def test_torchvision_refusals(factory, reason):
    pytest.importorskip("torchvision")
    with pytest.raises(UserError, match=reason):
        Torchvision(factory=factory).build((3, 64, 64), 4, generator())


def test_torchvision_refuses_single_channel_images():
    pytest.importorskip("torchvision")
    with pytest.raises(UserError, match=r"\(1, 32, 32\)"):
        Torchvision().build((1, 32, 32), 4, generator())


def test_models_are_listed_without_importing_torchvision_or_opacus():
    code = (
        "import sys, dpbench.models; print('torchvision' in sys.modules, 'opacus' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
