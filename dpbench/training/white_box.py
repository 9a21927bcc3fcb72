"""What weights tell about examples: per-example gradient norms and slopes of the loss.

The loss is the cross-entropy on the true label, without dropout. In terms of the logit-scaled
confidence phi = z_y - log sum_{k != y} exp z_k it is log(1 + exp(-phi)), so its gradient is
-(1 - p_y) times that of phi. Only phi is differentiated here: 1 - p_y is computed in double
precision and keeps its digits where p_y rounds to 1.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, jvp, vmap

from dpbench.models import Softmax
from dpbench.models.base import Architecture
from dpbench.models.build import built
from dpbench.models.dense_layer import DenseArchitecture, DenseLayer
from dpbench.seeds import seed_for
from dpbench.training.dense_net import DenseNet
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
    architecture: Architecture,
    weights: Weights,
    inputs: Tensor,
    targets: Tensor,
    *,
    of: Of = "weights",
    shape: tuple[int, ...],
    n_classes: int,
    device: str = "cpu",
) -> Tensor:
    """Returns the Euclidean norms `(K, N)` of every example's loss gradient, float64 on the CPU.

    Norms with respect to the weights of a dense architecture are ghost norms (Goodfellow 2015,
    arXiv:1510.01799), for all models side by side; for other networks the gradients of a few
    examples are held at a time.

    Args:
        architecture: The network.
        weights: K models, stacked.
        inputs: `(N, *shape)`.
        targets: `(N,)` int64 labels.
        of: With respect to all weights, or to the example's own input.
        shape: Shape of one input.
        n_classes: Number of classes C.
        device: Torch device name.
    """
    if of == "weights" and isinstance(architecture, DenseArchitecture):
        parts = _dense_norms(
            architecture.layers(shape, n_classes), weights, inputs, targets, device
        )
        return torch.cat(list(parts))
    norms = _input_norms if of == "inputs" else _weight_norms
    network = _network(architecture, shape, n_classes, device)
    phi, rows = _phi_of(network), []
    for parameters in _models(network, weights):
        blocks = _blocks(inputs, targets, device)
        rows.append(torch.cat([norms(phi, parameters, *block) for block in blocks]))
    return torch.stack(rows)


def slopes(
    architecture: Architecture,
    at: Weights,
    along: Weights,
    inputs: Tensor,
    targets: Tensor,
    *,
    shape: tuple[int, ...],
    n_classes: int,
    device: str = "cpu",
) -> Tensor:
    """Returns the derivatives `(K, N)` of every example's loss along a direction, float64.

    Forward-mode differentiation: one pass carries values and tangents, and no gradient is stored.

    Args:
        architecture: The network.
        at: K points in weight space, stacked.
        along: K directions, stacked; their length counts.
        inputs: `(N, *shape)`.
        targets: `(N,)` int64 labels.
        shape: Shape of one input.
        n_classes: Number of classes C.
        device: Torch device name.
    """
    network = _network(architecture, shape, n_classes, device)
    phi, rows = _phi_of(network), []
    for model, point in enumerate(_models(network, at)):
        direction = {name: along[name][model].to(device) for name in point}
        blocks = _blocks(inputs, targets, device)
        rows.append(torch.cat([_slopes(phi, point, direction, *block) for block in blocks]))
    return torch.stack(rows)


def initial_weights(
    architecture: Architecture,
    models: Sequence[int],
    *,
    shape: tuple[int, ...],
    n_classes: int,
    seed: int,
) -> Weights:
    """Returns the stacked weights from which both engines start these models.

    Args:
        architecture: The network.
        models: The models' numbers.
        shape: Shape of one input.
        n_classes: Number of classes C.
        seed: The grid's seed.
    """
    states = []
    for model in models:
        network = built(architecture, shape, n_classes, seed=seed_for(seed, "init", model))
        states.append(network.state_dict())
    return {name: torch.stack([state[name] for state in states]) for name in states[0]}


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainedModels:
    """M trained models as an `attacks.WhiteBox`: NumPy arrays in and out.

    Attributes:
        architecture: The network.
        trained: The M models' released weights, stacked, on the CPU.
        inputs: `(n, *shape)` challenge points.
        labels: `(n,)` int64, their true labels.
        n_classes: Number of classes C.
        seed: The grid's seed, from which each model was initialised by its number.
        numbers: The models' numbers; None stands for 0..M-1.
        reference: `(r, *shape)` public points; None stands for none.
        device: Torch device name.
    """

    architecture: Architecture
    trained: Weights
    inputs: Tensor
    labels: Tensor
    n_classes: int
    seed: int
    numbers: tuple[int, ...] | None = None
    reference: Tensor | None = None
    device: str = "cpu"

    @property
    def linear(self) -> bool:
        """Whether logits are affine in the weights."""
        return isinstance(self.architecture, Softmax)

    def weights(self) -> NDArray[np.floating]:
        """Returns the released weights `(M, p)` float32, in the order of the state dict."""
        return _flat(self.trained)

    def initial_weights(self) -> NDArray[np.floating]:
        """Returns the weights `(M, p)` float32 from which training started."""
        models = self.numbers or range(len(next(iter(self.trained.values()))))
        start = initial_weights(
            self.architecture,
            models,
            shape=self._shape,
            n_classes=self.n_classes,
            seed=self.seed,
        )
        return _flat(start)

    def logits(self) -> NDArray[np.floating]:
        """Returns the logits `(M, n, C)` float32."""
        values: NDArray[np.floating] = logits(
            self.architecture, self.trained, self.inputs, **self._facts
        ).numpy()
        return values

    @property
    def has_head(self) -> bool:
        """Whether the logits are what one affine layer makes of its inputs."""
        return head_name(self.architecture, shape=self._shape, n_classes=self.n_classes) is not None

    def features(self, of: Points) -> NDArray[np.floating]:
        """Returns the inputs `(M, k, h)` float32 of the last affine layer, read-only."""
        inputs = self.inputs
        if of == "reference":
            inputs = inputs[:0] if self.reference is None else self.reference
        values: NDArray[np.floating] = features(
            self.architecture, self.trained, inputs, **self._facts
        ).numpy()
        values.flags.writeable = False
        return values

    def head(self) -> NDArray[np.floating]:
        """Returns the last affine layer `(M, C, h + 1)` float32, bias as the last column."""
        name = head_name(self.architecture, shape=self._shape, n_classes=self.n_classes)
        weight = self.trained[f"{name}.weight"]
        bias = self.trained.get(f"{name}.bias", weight.new_zeros(weight.shape[:2]))
        joined: NDArray[np.floating] = torch.cat([weight, bias[..., None]], 2).numpy()
        return joined

    def influences(self, *, at_once: int, steps: int) -> Iterator[NDArray[np.floating]]:
        """Yields the influences `(M, k, d)` float32; see the function of this name."""
        for start in range(0, len(self.inputs), at_once):
            rows = slice(start, start + at_once)
            values: NDArray[np.floating] = influences(
                self.architecture,
                self.trained,
                self.inputs[rows],
                self.labels[rows],
                steps=steps,
                **self._facts,
            ).numpy()
            yield values

    def gradient_norms(self, of: Of) -> NDArray[np.floating]:
        """Returns the norms `(M, n)` of the loss gradients; see the function of this name."""
        norms: NDArray[np.floating] = gradient_norms(
            self.architecture, self.trained, self.inputs, self.labels, of=of, **self._facts
        ).numpy()
        return norms

    def slopes(self, at: NDArray[np.floating], along: NDArray[np.floating]) -> NDArray[np.floating]:
        """Returns the losses' derivatives `(M, n)` at weights, along directions `(M, p)`."""
        point, direction = (_stacked(rows, like=self.trained) for rows in (at, along))
        found: NDArray[np.floating] = slopes(
            self.architecture, point, direction, self.inputs, self.labels, **self._facts
        ).numpy()
        return found

    @property
    def _shape(self) -> tuple[int, ...]:
        return tuple(self.inputs.shape[1:])

    @property
    def _facts(self) -> dict[str, Any]:
        return {"shape": self._shape, "n_classes": self.n_classes, "device": self.device}


def _dense_norms(
    layers: Sequence[DenseLayer], weights: Weights, inputs: Tensor, targets: Tensor, device: str
) -> Iterator[Tensor]:
    """Yields the norms of a few models at a time."""
    batch = min(len(inputs), _EXAMPLES_AT_ONCE)
    for first in range(0, len(next(iter(weights.values()))), _DENSE_MODELS_AT_ONCE):
        some = {
            name: value[first : first + _DENSE_MODELS_AT_ONCE] for name, value in weights.items()
        }
        width = len(next(iter(some.values())))
        net = DenseNet(layers, models=width, capacity=batch, device=torch.device(device))
        net.load({name: value.to(device) for name, value in some.items()})
        parts = []
        for block, labels in _blocks(inputs.flatten(1), targets, device):
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


def _network(
    architecture: Architecture, shape: tuple[int, ...], n_classes: int, device: str
) -> nn.Module:
    return built(architecture, shape, n_classes).to(device).eval()


def _models(network: nn.Module, weights: Weights) -> Iterator[_Parameters]:
    """Yields the trained parameters of each model; the network takes over all that is not."""
    for model in range(len(next(iter(weights.values())))):
        network.load_state_dict({name: value[model] for name, value in weights.items()})
        yield {name: part.detach().clone() for name, part in trained(network).items()}


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
