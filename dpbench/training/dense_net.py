"""K multi-layer perceptrons as stacked matrices, with forward and backward passes written out.

Every input carries a constant one, so that a layer is one matrix `(d_in + 1, d_out)` whose last row
is the bias: one product per layer then gives the outputs, the gradient of weight and bias, and the
per-example gradient norm |a|^2 |delta|^2 (Goodfellow 2015, arXiv:1510.01799). All large buffers are
allocated once: on a CPU the traffic of temporaries costs more than the arithmetic.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dpbench.models.dense_layer import DenseLayer
from dpbench.training.task import Weights

# Single-precision numbers in a vector register (AVX-512).
_VECTOR = 16


class _Norm:
    """Buffers of one LayerNorm: normalised inputs and inverse deviations of the last forward."""

    def __init__(self, gain: Tensor, bias: Tensor) -> None:
        self.gain, self.bias = gain, bias
        self.normalised = self.inverse = gain

    def forward(self, values: Tensor) -> None:
        variance, mean = torch.var_mean(values, -1, correction=0, keepdim=True)
        self.inverse = variance.add_(1e-5).rsqrt_()
        # Kept for the backward pass, which needs the normalised inputs and not the raw ones.
        self.normalised = (values - mean).mul_(self.inverse)
        torch.addcmul(self.bias, self.normalised, self.gain, out=values)

    def backward(self, delta: Tensor) -> Tensor:
        # The deviation depends on every input: its share of the gradient is taken out along the
        # mean and along the normalised inputs.
        scaled = delta * self.gain
        mean = scaled.mean(-1, keepdim=True)
        along = (scaled * self.normalised).mean(-1, keepdim=True)
        return scaled.sub_(mean).sub_(self.normalised * along).mul_(self.inverse)


class _Views(NamedTuple):
    """Views into the buffers for one batch size.

    Making them at every step would cost as much as a small network's products.

    Attributes:
        rows: `(K * batch, d + 1)` inputs of the first layer.
        inputs: Per layer, `(K, batch, d_in + 1)` inputs with their ones.
        transposed: The same, `(K, d_in + 1, batch)`.
        outputs: Per layer, `(K, batch, d_out)` outputs, which live in the next layer's inputs.
        deltas: Per layer, `(K, batch, d_out)` gradient on the outputs.
    """

    rows: Tensor
    inputs: list[Tensor]
    transposed: list[Tensor]
    outputs: list[Tensor]
    deltas: list[Tensor]


class DenseNet:
    """The parameters of K networks in one flat tensor, and the buffers of one batch.

    Args:
        layers: The network, first layer first.
        models: K.
        capacity: Largest batch that will be seen.
        device: Torch device.
    """

    def __init__(
        self, layers: Sequence[DenseLayer], *, models: int, capacity: int, device: torch.device
    ) -> None:
        self.layers, self.models, self.capacity = tuple(layers), models, capacity
        self.frozen: frozenset[str] = frozenset()  # prefixes of layers that are not trained
        self._shapes: dict[str, tuple[int, ...]] = {}
        for layer in self.layers:
            self._shapes[layer.linear] = (models, layer.d_in + 1, layer.d_out)
            if layer.norm is not None:
                self._shapes[f"{layer.norm}.weight"] = (models, 1, layer.d_out)
                self._shapes[f"{layer.norm}.bias"] = (models, 1, layer.d_out)
        self.size = sum(math.prod(shape) for shape in self._shapes.values())
        self.flat = torch.zeros(self.size, device=device)
        self.parameters = self.views(self.flat)
        self._norms = [
            None
            if layer.norm is None
            else _Norm(
                self.parameters[f"{layer.norm}.weight"], self.parameters[f"{layer.norm}.bias"]
            )
            for layer in self.layers
        ]
        rows = models * capacity
        self._inputs = [torch.ones(rows * (layer.d_in + 1), device=device) for layer in self.layers]
        self._deltas = [torch.empty(rows * layer.d_out, device=device) for layer in self.layers]
        self._drops: list[Tensor | None] = [None] * len(self.layers)
        self._by_batch: dict[int, _Views] = {}
        self._now = self._views(capacity)
        self._matrices = [self.parameters[layer.linear] for layer in self.layers]
        # Without the bias row and transposed: what carries a gradient to the layer below.
        self._backward = [matrix[:, :-1].transpose(1, 2) for matrix in self._matrices]

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Returns named views `(K, ...)` into a flat tensor laid out like the parameters."""
        views, start = {}, 0
        for name, shape in self._shapes.items():
            stop = start + math.prod(shape)
            views[name] = flat[start:stop].view(shape)
            start = stop
        return views

    def frozen_names(self) -> list[str]:
        """Returns the names of the views that are not trained."""
        still = [layer for layer in self.layers if layer.linear in self.frozen]
        return [name for layer in still for name in (layer.linear, *self._norm_names(layer))]

    def load(self, weights: Weights, flat: Tensor | None = None) -> None:
        """Copies stacked state-dict weights into the flat parameters."""
        views = self.parameters if flat is None else self.views(flat)
        for layer in self.layers:
            views[layer.linear][:, :-1] = weights[f"{layer.linear}.weight"].transpose(1, 2)
            views[layer.linear][:, -1] = weights[f"{layer.linear}.bias"]
            for name in self._norm_names(layer):
                views[name][:, 0] = weights[name]

    def weights(self, flat: Tensor | None = None) -> Weights:
        """Returns the flat parameters as stacked state-dict tensors (views, differentiable)."""
        views = self.parameters if flat is None else self.views(flat)
        result: Weights = {}
        for layer in self.layers:
            result[f"{layer.linear}.weight"] = views[layer.linear][:, :-1].transpose(1, 2)
            result[f"{layer.linear}.bias"] = views[layer.linear][:, -1]
            for name in self._norm_names(layer):
                result[name] = views[name][:, 0]
        return result

    def input_rows(self, batch: int) -> Tensor:
        """Returns the `(K * batch, d + 1)` buffer of the first layer's inputs, to be filled."""
        self._now = self._by_batch.get(batch) or self._views(batch)
        return self._now.rows

    def forward(self, generator: torch.Generator | None = None) -> Tensor:
        """Returns the logits `(K, batch, C)` of the filled input rows.

        Args:
            generator: Draws dropout masks; None evaluates without dropout.
        """
        now, last = self._now, len(self.layers) - 1
        for number, matrix in enumerate(self._matrices):
            torch.bmm(now.inputs[number], matrix, out=now.outputs[number])
            if number < last:
                self._activate(number, now.outputs[number], generator)
        return now.outputs[last]

    def last_inputs(self) -> Tensor:
        """Returns the last layer's inputs `(K, batch, d)`, a view that the next batch changes."""
        return self._now.inputs[-1][..., :-1]

    def backward(self, delta: Tensor) -> None:
        """Turns the loss gradient on the logits into the gradient on every layer's output."""
        deltas = self._now.deltas
        deltas[-1].copy_(delta)
        # Below the lowest trained layer nobody needs a gradient.
        trained = [n for n, layer in enumerate(self.layers) if layer.linear not in self.frozen]
        for number in range(len(self.layers) - 1, min(trained, default=0), -1):
            below = deltas[number - 1]
            torch.bmm(self._linear_delta(number), self._backward[number], out=below)
            self._deactivate(number - 1, below)

    def squared_norms(self, input_norms: Tensor, copies: int = 1) -> Tensor:
        """Returns the squared norm `(K, batch)` of every example's gradient, after `backward`.

        Args:
            input_norms: `(K, batch)` squared norms of the first layer's inputs with their one;
                looked at for its shape alone where there are copies.
            copies: So many rows that follow each other are one example, with their mean gradient.
        """
        if copies > 1:
            return self._squared_norms_of_means(copies)
        total = torch.zeros_like(input_norms)
        for number, layer in enumerate(self.layers):
            if layer.linear in self.frozen:
                continue
            delta = self._linear_delta(number)
            inputs = self._now.inputs[number]
            norms = input_norms if number == 0 else _squared_norms(inputs)
            # |delta a^T|^2 = |delta|^2 |a|^2: the gradient itself is never formed.
            total.addcmul_(_squared_norms(delta), norms)
            norm = self._norms[number]
            if norm is not None:
                raw = self._now.deltas[number]
                total.add_(_squared_norms(raw * norm.normalised)).add_(_squared_norms(raw))
        return total

    def _squared_norms_of_means(self, copies: int) -> Tensor:
        """The same for means of c copies: `sum_ab (delta_a . delta_b) (x_a . x_b) / c²`."""
        total = self.flat.new_zeros(self.models, self._now.deltas[0].shape[1] // copies)
        for number, layer in enumerate(self.layers):
            if layer.linear in self.frozen:
                continue
            products = _gram(self._linear_delta(number), copies)
            total.add_(products.mul_(_gram(self._now.inputs[number], copies)).sum((2, 3)))
            norm = self._norms[number]
            if norm is not None:
                raw = self._now.deltas[number]
                for gradient in (raw * norm.normalised, raw):
                    total.add_(_squared_norms(_grouped(gradient, copies).sum(2)))
        return total.div_(copies**2)

    def scale(self, factors: Tensor) -> None:
        """Multiplies every example's gradient by its factor `(K, batch)`."""
        for delta in self._now.deltas:
            delta.mul_(factors[..., None])

    def accumulate(self, total: dict[str, Tensor], *, beta: float, alpha: float) -> None:
        """Sets every view of `total` to `beta * view + alpha * (sum of example gradients)`."""
        for number, layer in enumerate(self.layers):
            if layer.linear in self.frozen:
                continue
            view = total[layer.linear]
            delta = self._linear_delta(number)
            inputs = self._now.transposed[number]
            torch.baddbmm(view, inputs, delta, beta=beta, alpha=alpha, out=view)
            norm = self._norms[number]
            if norm is not None and layer.norm is not None:
                raw = self._now.deltas[number]
                gain, bias = total[f"{layer.norm}.weight"], total[f"{layer.norm}.bias"]
                gain.mul_(beta).add_((raw * norm.normalised).sum(1, keepdim=True), alpha=alpha)
                bias.mul_(beta).add_(raw.sum(1, keepdim=True), alpha=alpha)

    def _activate(self, number: int, outputs: Tensor, generator: torch.Generator | None) -> None:
        layer, norm = self.layers[number], self._norms[number]
        if norm is not None:
            norm.forward(outputs)
        if layer.activation == "relu":
            outputs.relu_()
        elif layer.activation == "tanh":
            outputs.tanh_()
        self._drops[number] = None
        if generator is not None and layer.dropout > 0:
            keep = 1 - layer.dropout
            mask = torch.empty_like(outputs, memory_format=torch.contiguous_format)
            # Inverted dropout, as in torch: kept units are scaled up, so that evaluation scales
            # nothing.
            self._drops[number] = mask.bernoulli_(keep, generator=generator).div_(keep)
            outputs.mul_(mask)

    def _deactivate(self, number: int, delta: Tensor) -> None:
        layer, drop = self.layers[number], self._drops[number]
        outputs = self._now.outputs[number]
        if drop is not None:
            delta.mul_(drop)
        if layer.activation == "relu":
            torch.ops.aten.threshold_backward.grad_input(delta, outputs, 0, grad_input=delta)
        elif layer.activation == "tanh":
            # Dropped units have no gradient already; kept ones were scaled up by 1 / keep.
            values = outputs if drop is None else outputs * (1 - layer.dropout)
            delta.sub_(delta * values.square())

    def _linear_delta(self, number: int) -> Tensor:
        """The gradient on a linear layer's own output: below its LayerNorm, if it has one."""
        norm, delta = self._norms[number], self._now.deltas[number]
        return delta if norm is None else norm.backward(delta)

    def _views(self, batch: int) -> _Views:
        inputs, deltas = [], []
        for number, layer in enumerate(self.layers):
            shape = (self.models, batch, layer.d_in + 1)
            inputs.append(self._inputs[number][: math.prod(shape)].view(shape))
            shape = (self.models, batch, layer.d_out)
            deltas.append(self._deltas[number][: math.prod(shape)].view(shape))
        made = _Views(
            rows=inputs[0].view(self.models * batch, -1),
            inputs=inputs,
            transposed=[value.transpose(1, 2) for value in inputs],
            outputs=[*(value[..., :-1] for value in inputs[1:]), deltas[-1]],
            deltas=deltas,
        )
        self._by_batch[batch] = made
        return made

    @staticmethod
    def _norm_names(layer: DenseLayer) -> tuple[str, ...]:
        return () if layer.norm is None else (f"{layer.norm}.weight", f"{layer.norm}.bias")


def evaluate(layers: Sequence[DenseLayer], weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the logits `(K, B, C)` of K networks on the same inputs `(B, d)`.

    Nothing is copied into a network's buffers, which only pays where gradients follow.
    """
    values = inputs.expand(len(next(iter(weights.values()))), *inputs.shape)
    for layer in layers:
        matrix, bias = weights[f"{layer.linear}.weight"], weights[f"{layer.linear}.bias"]
        values = torch.baddbmm(bias[:, None], values, matrix.transpose(1, 2))
        if layer.norm is not None:
            gain, shift = weights[f"{layer.norm}.weight"], weights[f"{layer.norm}.bias"]
            values = torch.nn.functional.layer_norm(values, values.shape[-1:])
            values.mul_(gain[:, None]).add_(shift[:, None])
        if layer.activation == "relu":
            values.relu_()
        elif layer.activation == "tanh":
            values.tanh_()
    return values


def softmax(logits: Tensor) -> Tensor:
    """Returns the softmax of `(K, B, C)` logits over C.

    torch's kernel works along C, one example at a time; with fewer classes than a vector register
    holds, working across examples is several times faster.
    """
    if logits.shape[-1] < _VECTOR:
        return logits.transpose(1, 2).contiguous().softmax(1).transpose(1, 2)
    return logits.softmax(-1)


def _gram(rows: Tensor, copies: int) -> Tensor:
    """Returns the inner products `(K, B, c, c)` among the c copies of rows `(K, B c, d)`."""
    grouped = _grouped(rows, copies)
    return torch.matmul(grouped, grouped.transpose(2, 3))


def _grouped(rows: Tensor, copies: int) -> Tensor:
    return rows.reshape(len(rows), -1, copies, rows.shape[-1])


def _squared_norms(values: Tensor) -> Tensor:
    """Squared norms along the last dimension; twice as fast as a product with itself."""
    norms: Tensor = torch.linalg.vector_norm(values, dim=-1)
    return norms.square_()
