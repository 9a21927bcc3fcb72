"""What weights tell about examples: per-example gradient norms and slopes of the loss.

The loss is the cross-entropy on the true label, without dropout. In terms of the logit-scaled
confidence phi = z_y - log sum_{k != y} exp z_k it is log(1 + exp(-phi)), so its gradient is
-(1 - p_y) times that of phi. Only phi is differentiated here: 1 - p_y is computed in double
precision and keeps its digits where p_y rounds to 1.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, jvp, vmap

from dpbench.models import Softmax
from dpbench.models.build import built
from dpbench.models.dense_layer import DenseLayer
from dpbench.models.network import Network
from dpbench.seeds import seed_for
from dpbench.training.dense_net import DenseNet
from dpbench.training.ensemble import Ensemble
from dpbench.training.example_gradients import trained
from dpbench.training.features import features, head_name
from dpbench.training.fit import logits
from dpbench.training.influence import influences
from dpbench.training.task import Weights

Of = Literal["weights", "inputs"]
Points = Literal["challenge", "reference"]

_EXAMPLES_AT_ONCE = 1024
_DENSE_MODELS_AT_ONCE = 8
# Per-example gradients held at once, in floats (32 MiB); more does not make vmap faster on a CPU.
_GRADIENTS_AT_ONCE = 1 << 23

_Parameters = dict[str, Tensor]
_Phi = Callable[[_Parameters, Tensor, Tensor], Tensor]
"""`(parameters, inputs (B, *shape), targets (B,)) -> phi (B,)` of one model."""


def gradient_norms(
    models: Ensemble, inputs: Tensor, targets: Tensor, *, of: Of = "weights"
) -> Tensor:
    """Returns the Euclidean norms `(K, N)` of every example's loss gradient, float64 on the CPU.

    Norms with respect to the weights of a dense architecture are ghost norms (Goodfellow 2015,
    arXiv:1510.01799), for all models side by side; for other networks the gradients of a few
    examples are held at a time.

    Args:
        models: K models.
        inputs: `(N, *shape)`.
        targets: `(N,)` int64 labels.
        of: With respect to all weights, or to the example's own input.
    """
    layers = models.network.dense_layers
    if of == "weights" and layers is not None:
        return torch.cat(list(_dense_norms(layers, models, inputs, targets)))
    norms = _input_norms if of == "inputs" else _weight_norms
    module = models.module()
    phi, rows = _phi_of(module), []
    for parameters in _parameters(models, module):
        blocks = _blocks(inputs, targets, models.device)
        rows.append(torch.cat([norms(phi, parameters, *block) for block in blocks]))
    return torch.stack(rows)


def slopes(models: Ensemble, along: Weights, inputs: Tensor, targets: Tensor) -> Tensor:
    """Returns the derivatives `(K, N)` of every example's loss along a direction, float64.

    Forward-mode differentiation: one pass carries values and tangents, and no gradient is stored.

    Args:
        models: K points in weight space.
        along: K directions, stacked; their length counts.
        inputs: `(N, *shape)`.
        targets: `(N,)` int64 labels.
    """
    module = models.module()
    phi, rows = _phi_of(module), []
    for model, point in enumerate(_parameters(models, module)):
        direction = {name: along[name][model].to(models.device) for name in point}
        blocks = _blocks(inputs, targets, models.device)
        rows.append(torch.cat([_slopes(phi, point, direction, *block) for block in blocks]))
    return torch.stack(rows)


def initial_weights(network: Network, models: Sequence[int], *, seed: int) -> Weights:
    """Returns the stacked weights from which both engines start these models.

    Args:
        network: The network.
        models: The models' numbers.
        seed: The grid's seed.
    """
    made = (network.architecture, network.shape, network.n_classes)
    states = [built(*made, seed=seed_for(seed, "init", model)).state_dict() for model in models]
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedModels:
    """M trained models as an `attacks.WhiteBox`: NumPy arrays in and out.

    Attributes:
        models: The M models with their released weights.
        inputs: `(n, *shape)` challenge points.
        labels: `(n,)` int64, their true labels.
        seed: The grid's seed, from which each model was initialised by its number.
        numbers: The models' numbers; None stands for 0..M-1.
        reference: `(r, *shape)` public points; None stands for none.
    """

    models: Ensemble
    inputs: Tensor
    labels: Tensor
    seed: int
    numbers: tuple[int, ...] | None = None
    reference: Tensor | None = None

    @property
    def linear(self) -> bool:
        """Whether logits are affine in the weights."""
        return isinstance(self.models.network.architecture, Softmax)

    def weights(self) -> NDArray[np.floating]:
        """Returns the released weights `(M, p)` float32, in the order of the state dict."""
        return _flat(self.models.weights)

    def initial_weights(self) -> NDArray[np.floating]:
        """Returns the weights `(M, p)` float32 from which training started."""
        numbers = self.numbers or range(len(self.models))
        return _flat(initial_weights(self.models.network, numbers, seed=self.seed))

    def logits(self) -> NDArray[np.floating]:
        """Returns the logits `(M, n, C)` float32."""
        values: NDArray[np.floating] = logits(self.models, self.inputs).numpy()
        return values

    @property
    def has_head(self) -> bool:
        """Whether the logits are what one affine layer makes of its inputs."""
        return head_name(self.models.network) is not None

    def features(self, of: Points) -> NDArray[np.floating]:
        """Returns the inputs `(M, k, h)` float32 of the last affine layer, read-only."""
        inputs = self.inputs
        if of == "reference":
            inputs = inputs[:0] if self.reference is None else self.reference
        values: NDArray[np.floating] = features(self.models, inputs).numpy()
        values.flags.writeable = False
        return values

    def head(self) -> NDArray[np.floating]:
        """Returns the last affine layer `(M, C, h + 1)` float32, bias as the last column."""
        name, weights = head_name(self.models.network), self.models.weights
        weight = weights[f"{name}.weight"]
        bias = weights.get(f"{name}.bias", weight.new_zeros(weight.shape[:2]))
        joined: NDArray[np.floating] = torch.cat([weight, bias[..., None]], 2).numpy()
        return joined

    def influences(self, *, at_once: int, steps: int) -> Iterator[NDArray[np.floating]]:
        """Yields the influences `(M, k, d)` float32; see the function of this name."""
        for start in range(0, len(self.inputs), at_once):
            rows = slice(start, start + at_once)
            values: NDArray[np.floating] = influences(
                self.models, self.inputs[rows], self.labels[rows], steps=steps
            ).numpy()
            yield values

    def gradient_norms(self, of: Of) -> NDArray[np.floating]:
        """Returns the norms `(M, n)` of the loss gradients; see the function of this name."""
        norms: NDArray[np.floating] = gradient_norms(
            self.models, self.inputs, self.labels, of=of
        ).numpy()
        return norms

    def slopes(self, at: NDArray[np.floating], along: NDArray[np.floating]) -> NDArray[np.floating]:
        """Returns the losses' derivatives `(M, n)` at weights, along directions `(M, p)`."""
        point, direction = (_stacked(rows, like=self.models.weights) for rows in (at, along))
        moved = replace(self.models, weights=point)
        found: NDArray[np.floating] = slopes(moved, direction, self.inputs, self.labels).numpy()
        return found


def _dense_norms(
    layers: Sequence[DenseLayer], models: Ensemble, inputs: Tensor, targets: Tensor
) -> Iterator[Tensor]:
    """Yields the norms of a few models at a time."""
    batch = min(len(inputs), _EXAMPLES_AT_ONCE)
    for _, weights in models.chunks(_DENSE_MODELS_AT_ONCE):
        width = len(next(iter(weights.values())))
        net = DenseNet(layers, models=width, capacity=batch, device=torch.device(models.device))
        net.load(weights)
        parts = []
        for block, labels in _blocks(inputs.flatten(1), targets, models.device):
            net.input_rows(len(block)).view(width, len(block), -1)[..., :-1] = block
            outputs = net.forward()
            labels = labels.expand(outputs.shape[:2])
            doubt = _doubt(_phi(outputs, labels))
            net.backward(_phi_gradient(outputs, labels))
            squares = net.squared_norms((1 + block.square().sum(1)).repeat(width, 1))
            parts.append(doubt * squares.double().cpu().sqrt())
        yield torch.cat(parts, 1)


def _weight_norms(phi: _Phi, parameters: _Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
    def one(parameters: _Parameters, example: Tensor, target: Tensor) -> Tensor:
        return phi(parameters, example[None], target[None]).sum()

    gradients = vmap(grad_and_value(one), (None, 0, 0))
    size = sum(value.numel() for value in parameters.values())
    at_once = max(1, _GRADIENTS_AT_ONCE // size)
    norms = []
    for start in range(0, len(inputs), at_once):
        some = slice(start, start + at_once)
        found, confidence = gradients(parameters, inputs[some], targets[some])
        squares = torch.stack([value.flatten(1).square().sum(1) for value in found.values()])
        norms.append(_doubt(confidence) * squares.sum(0).double().cpu().sqrt())
    return torch.cat(norms)


def _input_norms(phi: _Phi, parameters: _Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
    leaf = inputs.clone().requires_grad_()
    with torch.enable_grad():
        confidence = phi(parameters, leaf, targets)
        (found,) = torch.autograd.grad(confidence.sum(), leaf)
    norms: Tensor = _doubt(confidence.detach()) * found.flatten(1).double().cpu().norm(dim=1)
    return norms


def _slopes(
    phi: _Phi, point: _Parameters, direction: _Parameters, inputs: Tensor, targets: Tensor
) -> Tensor:
    def values(parameters: _Parameters) -> Tensor:
        return phi(parameters, inputs, targets)

    with warnings.catch_warnings():
        # The first forward-mode call of a process scripts rules of torch's own, which warns.
        warnings.filterwarnings("ignore", message="`torch.jit.script` is", category=FutureWarning)
        confidence, slope, *_ = jvp(values, (point,), (direction,))
    found: Tensor = -_doubt(confidence) * slope.double().cpu()
    return found


def _phi(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns phi `(...)` of logits `(..., C)`."""
    own = targets[..., None]
    others = logits.scatter(-1, own, -torch.inf).logsumexp(-1)
    return logits.gather(-1, own).squeeze(-1) - others


def _phi_gradient(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the gradient of minus phi on logits `(..., C)`; its sign does not matter here."""
    own = targets[..., None]
    return logits.scatter(-1, own, -torch.inf).softmax(-1).scatter_(-1, own, -1.0)


def _doubt(phi: Tensor) -> Tensor:
    """Returns 1 - p_y, float64 on the CPU."""
    return torch.sigmoid(-phi.double().cpu())


def _phi_of(network: nn.Module) -> _Phi:
    def phi(parameters: _Parameters, inputs: Tensor, targets: Tensor) -> Tensor:
        return _phi(functional_call(network, parameters, (inputs,)), targets)

    return phi


def _parameters(models: Ensemble, module: nn.Module) -> Iterator[_Parameters]:
    """Yields the trained parameters of each model; the module takes over all that is not."""
    for _ in models.loaded(module):
        yield {name: part.detach().clone() for name, part in trained(module).items()}


def _blocks(inputs: Tensor, targets: Tensor, device: str) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(inputs), _EXAMPLES_AT_ONCE):
        rows = slice(start, start + _EXAMPLES_AT_ONCE)
        yield inputs[rows].to(device), targets[rows].to(device)


def _flat(weights: Weights) -> NDArray[np.floating]:
    flat: NDArray[np.floating] = torch.cat(
        [value.flatten(1) for value in weights.values()], 1
    ).numpy()
    return flat


def _stacked(flat: NDArray[np.floating], *, like: Weights) -> Weights:
    rows = torch.from_numpy(np.asarray(flat, dtype=np.float32))
    pieces = torch.split(rows, [value[0].numel() for value in like.values()], 1)
    return {
        name: piece.reshape(len(rows), *value.shape[1:])
        for (name, value), piece in zip(like.items(), pieces, strict=True)
    }
