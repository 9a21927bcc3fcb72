"""Whether a network can be trained and asked as the game demands, seen from a few examples.

Each example is to be treated alone, answers are to be repeatable, and under clipping an example's
gradient is to be that of the example alone. What a layer does in `forward` is not declared
anywhere, so the network is run: on a batch, on single examples, and by the engine's own ways to
per-example gradients.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from dpbench.errors import UserError
from dpbench.models.base import Architecture
from dpbench.models.build import built
from dpbench.models.dropout import drive_dropout
from dpbench.models.global_draws import global_draws
from dpbench.models.initialise import require_no_batch_norm
from dpbench.training.example_gradients import ExampleGradients, Mapped, left, trained
from dpbench.training.probe import Call, FixedDraws, Trace, other_draws, trace

EXAMPLES = 16
"""So many that a decision by the sign of a batch's mean falls otherwise for one of them."""

_DIFFERENTIATED = 4
# In float32, a batch and its examples differ by about 1e-6 of the largest logit; gradients of a
# layer by about 1e-5 of its own. What is wrong is wrong by percents.
_SAME_ANSWER, _SAME_GRADIENT = 1e-4, 1e-3
_ALONE = "layers that treat each example alone"
_NO_GRADIENT = "has no gradient for each example alone"
_DECIDES = "decides by the values of its inputs, for a whole batch at once"
_INSTEAD = (
    "write it with layers that do (nn.GRU for nn.GRUCell, torch.where for an if), or leave out the "
    "defenses that clip gradients, such as dp_sgd"
)

Way = Callable[[nn.Module], ExampleGradients]
"""Prepares a network for per-example gradients."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A network, and examples to try it on; equal networks are tried once in a process.

    Attributes:
        architecture: The network.
        shape: Shape of one input.
        n_classes: Number of classes C.
        clips: Whether the gradient of each example is clipped.
        inputs: `(N, *shape)`, of which the first are used.
    """

    architecture: Architecture
    shape: tuple[int, ...]
    n_classes: int
    clips: bool
    inputs: Tensor = field(compare=False, repr=False)

    def network(self) -> nn.Module:
        """Returns the network, with the same weights every time.

        Raises:
            UserError: It cannot be built.
        """
        network = built(self.architecture, self.shape, self.n_classes)
        drive_dropout(network, Generator().manual_seed(0))
        return network


@lru_cache(maxsize=64)
def require_trainable(trial: Trial) -> Way | None:
    """Tries a network; returns its way to per-example gradients if they are clipped.

    Raises:
        UserError: The network cannot be trained; the message names the layer or parameter.
    """
    with warnings.catch_warnings(), global_draws(0), other_draws() as used:
        warnings.simplefilter("ignore")
        way = _tried(trial, trial.inputs[:EXAMPLES].detach().cpu().clone())
    if used:
        raise _refused(
            f"{' and '.join(used)} is drawn from by the network",
            allowed="torch's random functions, which follow from the grid's seed here",
        )
    return way


def _tried(trial: Trial, inputs: Tensor) -> Way | None:
    network = trial.network()
    _require_parameters(network)
    require_no_batch_norm(network)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    for training in (True, False):
        _require_logits(network, inputs, trial.n_classes, training=training)
        _require_repeatable(network, inputs, training=training)
    _require_unchanged(network, before)
    _shake(network, inputs)
    for training in (True, False):
        _require_alone(network, inputs, training=training)
    return _way(trial, network, inputs[:_DIFFERENTIATED])


def _require_parameters(network: nn.Module) -> None:
    for name, parameter in network.named_parameters():
        layer = _named(network, name.rpartition(".")[0])
        if parameter.dtype != torch.float32:
            raise _refused(f"parameter '{name}' is {parameter.dtype}", allowed="torch.float32")
        if not bool(torch.isfinite(parameter).all()):
            raise _refused(
                f"parameter '{name}' of {layer} is not finite before training",
                next_step="initialise it in build",
            )
    if not trained(network):
        raise _refused(
            "no parameter is trained: build leaves none with requires_grad=True",
            next_step="let requires_grad stand for at least one",
        )


def _require_logits(network: nn.Module, inputs: Tensor, classes: int, *, training: bool) -> None:
    """Refuses answers that are no logits, for a batch and for one example."""
    for rows in (inputs, inputs[:1]):
        outputs, seen = _run(network, rows, training=training)
        wanted = (len(rows), classes)
        where = f"{_named(network, '')} {'in training' if training else 'in evaluation'}"
        if not isinstance(outputs, Tensor):
            raise _refused(
                f"{where} returns {type(outputs).__name__}",
                allowed="one tensor of logits (B, classes)",
                next_step="return the logits alone",
            )
        if tuple(outputs.shape) != wanted:
            raise _refused(
                f"{where} returns shape {tuple(outputs.shape)} for {len(rows)} examples",
                allowed=f"logits of shape {wanted}",
            )
        if outputs.dtype != torch.float32:
            raise _refused(f"{where} returns {outputs.dtype}", allowed="torch.float32")
        if not bool(torch.isfinite(outputs).all()):
            raise _refused(
                f"{_named(network, _first_not_finite(seen))} returns values that are not finite "
                "before training",
                next_step="scale its inputs or its initial weights",
            )


def _require_repeatable(network: nn.Module, inputs: Tensor, *, training: bool) -> None:
    """Refuses answers that differ from call to call: in training, beyond torch's own draws."""
    first = _run(network, inputs, training=training, seed=0)
    again = _run(network, inputs, training=training, seed=0 if training else 1)
    if _same(first[0], again[0]):
        return
    layer = _named(network, _first_difference(first[1].calls, again[1].calls, _same))
    if training:
        raise _refused(
            f"{layer} gives other outputs when it is run again with the same random numbers",
            allowed="random numbers from torch's global generator, and no memory of past batches",
            next_step="use nn.Dropout, or dpbench.models.dropout.Dropout",
        )
    raise _refused(
        f"{layer} is random in evaluation",
        allowed="answers that are the same every time",
        next_step="draw only where self.training",
    )


def _require_unchanged(network: nn.Module, before: dict[str, Tensor]) -> None:
    """Refuses buffers and parameters that `forward` changes.

    Averaged and earlier weights are released with the buffers of the last step, and no clipping
    bounds what a buffer learns of an example.
    """
    for name, value in network.state_dict().items():
        if not torch.equal(value, before[name]):
            layer, _, own = name.rpartition(".")
            raise _refused(
                f"{_named(network, layer)} changes its '{own}' whenever it is run",
                allowed="parameters that optimizer steps change, and buffers that nothing changes",
                next_step="use GroupNorm or LayerNorm for running statistics, weight_norm for "
                "spectral_norm, and no max_norm",
            )


@torch.no_grad()
def _shake(network: nn.Module, inputs: Tensor) -> None:
    """Moves the weights: behind a layer that starts at zero, nothing else could be seen."""
    start = {name: value.clone() for name, value in network.state_dict().items()}
    for parameter in network.parameters():
        scale = 0.3 * parameter[0].numel() ** -0.5 if parameter.dim() > 1 else 0.1
        parameter.add_(scale * torch.randn(parameter.shape))
    outputs = [_run(network, inputs, training=training)[0] for training in (True, False)]
    if not all(bool(torch.isfinite(output).all()) for output in outputs):
        network.load_state_dict(start)


def _require_alone(network: nn.Module, inputs: Tensor, *, training: bool) -> None:
    """Refuses networks in which the examples of a batch change each other's answers."""
    with FixedDraws():  # type: ignore[no-untyped-call]
        together, seen = _run(network, inputs, training=training)
        for row in range(len(inputs)):
            alone, own = _run(network, inputs[row : row + 1], training=training)
            if _same(together[row], alone[0], scale=together):
                continue

            def same(batch: Tensor, one: Tensor, row: int = row) -> bool:
                return _same_row(batch, one, row=row, of=len(inputs))

            name = _first_difference(seen.calls, own.calls, same)
            raise _refused(
                f"{_named(network, name)} lets the examples of a batch change each other's outputs "
                f"{'in training' if training else 'in evaluation'}",
                allowed=_ALONE,
                next_step="normalise over features (GroupNorm, LayerNorm), not over the batch",
            )


def _way(trial: Trial, network: nn.Module, inputs: Tensor) -> Way | None:
    """Returns how this network's per-example gradients are computed rightly, if they are needed.

    Opacus' rules are the faster way. They are not trusted with a network that decides by values,
    even if they are right here: on another batch it may take another path for all its examples.
    """
    targets = torch.arange(len(inputs)) % trial.n_classes
    with FixedDraws():  # type: ignore[no-untyped-call]
        wanted = _single_gradients(network, inputs, targets)
        if not trial.clips:
            return None
        from dpbench.training.hooked import Hooked  # Opacus takes two seconds to import

        found = {}
        for way in (Hooked, Mapped):
            copy = trial.network()
            copy.load_state_dict(network.state_dict())
            found[way] = _failure(way, copy.train(), inputs, targets, wanted)
    right = [way for way, failure in found.items() if failure is None]
    failure = found[Mapped]
    if failure is not None and (not right or _DECIDES in str(failure)):
        raise failure
    return right[0]


def _single_gradients(network: nn.Module, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Returns `(B, *shape)` by parameter, from one backward pass for each example."""
    network.train()
    names, parameters, rows = list(trained(network)), list(trained(network).values()), []
    for example, target in zip(inputs, targets, strict=True):
        try:
            loss = _cross_entropy(network(example[None]), target[None]).sum()
            found = torch.autograd.grad(loss, parameters, allow_unused=True)
        except Exception as error:
            raise _refused(f"its loss cannot be differentiated: {_short(error)}") from error
        if all(gradient is None for gradient in found):
            raise _refused("no parameter that is trained has a part in its outputs")
        rows.append(found)
    return {
        name: torch.stack([torch.zeros_like(part) if one is None else one for one in column])
        for name, part, column in zip(names, parameters, zip(*rows, strict=True), strict=True)
    }


def _failure(
    way: Way, network: nn.Module, inputs: Tensor, targets: Tensor, wanted: dict[str, Tensor]
) -> UserError | None:
    """Returns why a way does not give the gradients that are wanted, or None if it does."""
    with trace(network) as seen:
        try:
            way(network).leave(inputs, targets, _cross_entropy)
        except Exception as error:
            layer = _named(network, seen.open[-1] if seen.open else "")
            decides = "control flow" in str(error)
            return _refused(
                f"{layer} {_DECIDES if decides else _NO_GRADIENT}"
                + ("" if decides else f": {_short(error)}"),
                allowed="under clipping: layers that torch.func.vmap can take",
                next_step=_INSTEAD,
            )
    total = sum(float(value.square().sum()) for value in wanted.values()) ** 0.5
    off = [
        name
        for name, parameter in trained(network).items()
        if left(parameter).shape != wanted[name].shape
        or not float((left(parameter) - wanted[name]).norm())
        <= _SAME_GRADIENT * max(float(wanted[name].norm()), _SAME_GRADIENT * total)
    ]
    if not off:
        return None
    return _refused(
        f"{_named(network, off[0].rpartition('.')[0])} gets gradients for '{off[0]}' that are not "
        "those of each example alone",
        allowed="under clipping: " + _ALONE,
        next_step=_INSTEAD,
    )


def _cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(outputs, targets, reduction="none")


def _run(
    network: nn.Module, inputs: Tensor, *, training: bool, seed: int = 0
) -> tuple[Tensor, Trace]:
    """Returns the outputs on inputs, and what the layers did."""
    drive_dropout(network, Generator().manual_seed(seed))
    network.train(training)
    with trace(network) as seen, global_draws(seed), torch.no_grad():
        try:
            return network(inputs), seen
        except Exception as error:
            raise _refused(
                f"{_named(network, seen.open[-1] if seen.open else '')} fails in "
                f"{'training' if training else 'evaluation'} on inputs of shape "
                f"{tuple(inputs.shape)}: {_short(error)}",
                allowed="batches of any size, of one example as well",
            ) from error


def _first_not_finite(seen: Trace) -> str:
    for call in seen.calls:
        if not all(bool(torch.isfinite(output).all()) for output in call.outputs):
            return call.name
    return ""


def _first_difference(
    calls: list[Call], others: list[Call], same: Callable[[Tensor, Tensor], bool]
) -> str:
    """Returns the first layer that makes different outputs of the same inputs."""

    def all_same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
        return len(ours) == len(theirs) and all(map(same, ours, theirs))

    for one, other in zip(calls, others, strict=False):
        if one.name != other.name:
            break
        if all_same(one.inputs, other.inputs) and not all_same(one.outputs, other.outputs):
            return one.name
    return ""


def _same(ours: Tensor, theirs: Tensor, *, scale: Tensor | None = None) -> bool:
    if ours.shape != theirs.shape:
        return False
    if not ours.is_floating_point():
        return torch.equal(ours, theirs)
    largest = float((ours if scale is None else scale).abs().nan_to_num(posinf=0.0).max())
    return torch.allclose(ours, theirs, rtol=0, atol=_SAME_ANSWER * largest, equal_nan=True)


def _same_row(batch: Tensor, one: Tensor, *, row: int, of: int) -> bool:
    """Tells whether one example's tensor is its part of a batch's, wherever the batch lies."""
    for axis in range(min(2, batch.dim())):
        parts, width = batch.shape[axis], one.shape[axis] if one.dim() > axis else 0
        if width and parts == of * width:
            return _same(batch.narrow(axis, row * width, width), one, scale=batch)
    return _same(batch, one)


def _named(network: nn.Module, name: str) -> str:
    """Returns what to call a layer."""
    kind = type(network.get_submodule(name)).__name__
    return f"layer '{name}' ({kind})" if name else f"the network itself ({kind})"


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def _refused(problem: str, *, allowed: str = "", next_step: str = "") -> UserError:
    return UserError(f"model: {problem}", allowed=allowed, next_step=next_step)
