"""What a network's last affine layer is given: its features of an example."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dpbench.models import Softmax
from dpbench.models.build import built
from dpbench.models.dense_layer import DenseLayer
from dpbench.models.network import Network
from dpbench.training.dense_net import DenseNet
from dpbench.training.ensemble import Ensemble

_EXAMPLES_AT_ONCE = 1024
_DENSE_MODELS_AT_ONCE = 8


def head_name(network: Network) -> str | None:
    """Returns the state-dict prefix of the affine layer whose outputs are the logits.

    None where the network does something to them, or ends in another kind of layer. Which layer is
    the last is seen from a run, not from the order in which the layers were made.
    """
    if network.dense_layers is not None:
        return network.dense_layers[-1].linear
    module = built(network.architecture, network.shape, network.n_classes).eval()
    made: dict[int, str] = {}
    kept = []
    for name, part in module.named_modules():
        if isinstance(part, nn.Linear):

            def remember(_: nn.Module, __: object, outputs: Tensor, name: str = name) -> None:
                made[id(outputs)] = name
                kept.append(outputs)  # an id is that of one object only while the object lives

            part.register_forward_hook(remember)
    with torch.no_grad():
        return made.get(id(module(torch.zeros(1, *network.shape))))


def features(models: Ensemble, inputs: Tensor) -> Tensor:
    """Returns the inputs `(K, N, h)` of the last affine layer, without dropout, on the CPU.

    Those of softmax regression are the flattened examples, a view that all models share.

    Args:
        models: K models; their network has a head.
        inputs: `(N, *shape)`.
    """
    network = models.network
    if isinstance(network.architecture, Softmax):
        return inputs.flatten(1).expand(len(models), -1, -1)
    if network.dense_layers is not None:
        return _dense_features(network.dense_layers, models, inputs)
    name = head_name(network)
    if name is None:
        raise ValueError(f"the model '{network.architecture.name}' does not end in an affine layer")
    module = models.module()
    head = module.get_submodule(name)
    assert isinstance(head, nn.Linear)
    result = torch.empty(len(models), len(inputs), head.in_features)
    seen: list[Tensor] = []
    head.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for model in models.loaded(module):
        for start in range(0, len(inputs), _EXAMPLES_AT_ONCE):
            rows = slice(start, start + _EXAMPLES_AT_ONCE)
            with torch.no_grad():
                module(inputs[rows].to(models.device))
            result[model, rows] = seen.pop().cpu()
    return result


def _dense_features(layers: Sequence[DenseLayer], models: Ensemble, inputs: Tensor) -> Tensor:
    rows = inputs.flatten(1)
    result = torch.empty(len(models), len(rows), layers[-1].d_in)
    batch = max(1, min(len(rows), _EXAMPLES_AT_ONCE))
    for some, weights in models.chunks(_DENSE_MODELS_AT_ONCE):
        width = len(next(iter(weights.values())))
        net = DenseNet(layers, models=width, capacity=batch, device=torch.device(models.device))
        net.load(weights)
        for start in range(0, len(rows), batch):
            block = rows[start : start + batch].to(models.device)
            net.input_rows(len(block)).view(width, len(block), -1)[..., :-1] = block
            net.forward()
            result[some, start : start + len(block)] = net.last_inputs().cpu()
    return result
