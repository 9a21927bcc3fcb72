"""What a network's last affine layer is given: its features of an example."""

import torch
from torch import Tensor, nn

from dpbench.models import Softmax
from dpbench.models.base import Architecture
from dpbench.models.build import built
from dpbench.models.dense_layer import DenseArchitecture
from dpbench.training.dense_net import DenseNet
from dpbench.training.task import Weights

_EXAMPLES_AT_ONCE = 1024
_DENSE_MODELS_AT_ONCE = 8


def head_name(architecture: Architecture, *, shape: tuple[int, ...], n_classes: int) -> str | None:
    """Returns the state-dict prefix of the affine layer whose outputs are the logits.

    None where the network does something to them, or ends in another kind of layer. Which layer is
    the last is seen from a run, not from the order in which the layers were made.
    """
    if isinstance(architecture, DenseArchitecture):
        return architecture.layers(shape, n_classes)[-1].linear
    network = built(architecture, shape, n_classes).eval()
    made: dict[int, str] = {}
    kept = []
    for name, part in network.named_modules():
        if isinstance(part, nn.Linear):

            def remember(_: nn.Module, __: object, outputs: Tensor, name: str = name) -> None:
                made[id(outputs)] = name
                kept.append(outputs)  # an id is that of one object only while the object lives

            part.register_forward_hook(remember)
    with torch.no_grad():
        return made.get(id(network(torch.zeros(1, *shape))))


def features(
    architecture: Architecture,
    weights: Weights,
    inputs: Tensor,
    *,
    shape: tuple[int, ...],
    n_classes: int,
    device: str = "cpu",
) -> Tensor:
    """Returns the inputs `(K, N, h)` of the last affine layer, without dropout, on the CPU.

    Those of softmax regression are the flattened examples, a view that all models share.

    Args:
        architecture: The network; it has a head.
        weights: K models, stacked.
        inputs: `(N, *shape)`.
        shape: Shape of one input.
        n_classes: Number of classes C.
        device: Torch device name.
    """
    models = len(next(iter(weights.values())))
    if isinstance(architecture, Softmax):
        return inputs.flatten(1).expand(models, -1, -1)
    if isinstance(architecture, DenseArchitecture):
        return _dense_features(architecture, weights, inputs, shape, n_classes, device)
    name = head_name(architecture, shape=shape, n_classes=n_classes)
    if name is None:
        raise ValueError(f"the model '{architecture.name}' does not end in an affine layer")
    network = built(architecture, shape, n_classes).to(device).eval()
    head = network.get_submodule(name)
    assert isinstance(head, nn.Linear)
    result = torch.empty(models, len(inputs), head.in_features)
    seen: list[Tensor] = []
    head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for model in range(models):
        network.load_state_dict({key: value[model] for key, value in weights.items()})
        for start in range(0, len(inputs), _EXAMPLES_AT_ONCE):
            rows = slice(start, start + _EXAMPLES_AT_ONCE)
            with torch.no_grad():
                network(inputs[rows].to(device))
            result[model, rows] = seen.pop().cpu()
    return result


def _dense_features(
    architecture: DenseArchitecture,
    weights: Weights,
    inputs: Tensor,
    shape: tuple[int, ...],
    n_classes: int,
    device: str,
) -> Tensor:
    layers = architecture.layers(shape, n_classes)
    models, rows = len(next(iter(weights.values()))), inputs.flatten(1)
    result = torch.empty(models, len(rows), layers[-1].d_in)
    batch = max(1, min(len(rows), _EXAMPLES_AT_ONCE))
    for first in range(0, models, _DENSE_MODELS_AT_ONCE):
        some = slice(first, first + _DENSE_MODELS_AT_ONCE)
        chunk = {name: value[some].to(device) for name, value in weights.items()}
        width = len(next(iter(chunk.values())))
        net = DenseNet(layers, models=width, capacity=batch, device=torch.device(device))
        net.load(chunk)
        for start in range(0, len(rows), batch):
            block = rows[start : start + batch].to(device)
            net.input_rows(len(block)).view(width, len(block), -1)[..., :-1] = block
            net.forward()
            result[some, start : start + len(block)] = net.last_inputs().cpu()
    return result
