"""Networks as users write them, good and bad, for one table of six features and four classes."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from small_task import CLASSES, TABLE
from torch import nn
from torch.nn import functional

from dpbench.models import Architecture
from dpbench.models.dropout import DrivenDropout

D = TABLE[0]


@dataclass(frozen=True, kw_only=True)
class Written(Architecture):
    """What a function returns, initialised from torch's global generator."""

    make: Callable[[], nn.Module]

    def build(self, shape, n_classes, generator):
        return self.make()


def written(make: Callable[[], nn.Module]) -> Written:
    return Written(make=make)


class Of(nn.Module):
    """Layers by name, and what a function makes of them."""

    def __init__(self, forward, **layers):
        super().__init__()
        self.run = forward
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, inputs):
        return self.run(self, inputs)


def of(forward, **layers: Callable[[], object]) -> Written:
    return written(lambda: Of(forward, **{name: make() for name, make in layers.items()}))


def linear(*sizes: int) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(*sizes)


def head() -> nn.Module:
    return nn.Linear(8, CLASSES)


def parameter(*shape: int) -> Callable[[], nn.Parameter]:
    return lambda: nn.Parameter(torch.randn(shape) * 0.3)


def frozen(layer: nn.Module, *names: str) -> nn.Module:
    for name, part in layer.named_parameters():
        part.requires_grad_(name not in (names or dict(layer.named_parameters())))
    return layer


def plain(*middle: Callable[[], nn.Module]) -> Written:
    """Two affine layers with something between them."""
    return written(lambda: nn.Sequential(nn.Linear(D, 8), *[make() for make in middle], head()))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, CLASSES)
        self.second.weight = self.first.weight

    def forward(self, inputs):
        return self.out(torch.tanh(self.second(torch.tanh(self.first(inputs)))))


class Tokens(nn.Module):
    """A feature is a token; positions are an embedding without a batch."""

    def __init__(self):
        super().__init__()
        self.register_buffer("places", torch.arange(D))
        self.positions, self.out = nn.Embedding(D, 4), nn.Linear(4 * D, CLASSES)

    def forward(self, inputs):
        return self.out((inputs[..., None] * self.positions(self.places)).flatten(1))


class Vit(nn.Module):
    def __init__(self, dropout=0.0):
        super().__init__()
        self.embed = nn.Linear(1, 8)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.place = nn.Parameter(torch.randn(1, D + 1, 8) * 0.1)
        self.encoder = nn.TransformerEncoderLayer(8, 2, 16, dropout=dropout, batch_first=True)
        self.out = nn.Linear(8, CLASSES)

    def forward(self, inputs):
        tokens = self.embed(inputs[..., None])
        tokens = torch.cat([self.token.expand(len(tokens), -1, -1), tokens], 1) + self.place
        return self.out(self.encoder(tokens)[:, 0])


def recurrent(kind: type[nn.RNNBase]) -> Written:
    return of(
        lambda net, x: net.out(net.rnn(x[..., None])[0][:, -1]),
        rnn=lambda: kind(1, 8, batch_first=True),
        out=head,
    )


def _batch_noise(net, x):
    h = net.inner(x)
    return net.out(h + 0.5 * h[torch.randperm(len(h))] if net.training else h)


GOOD = {
    "plain": plain(nn.Tanh),
    "in place": plain(lambda: nn.ReLU(inplace=True)),
    "nothing but zeros at first": of(
        lambda net, x: net.out(torch.tanh(net.inner(x))) * net.gate,
        inner=linear(D, 8), out=head, gate=lambda: nn.Parameter(torch.zeros(())),
    ),
    "tied": written(Tied),
    "reused": of(
        lambda net, x: net.out(torch.tanh(net.inner(torch.tanh(net.inner(x))))),
        inner=linear(D, D), out=linear(D, CLASSES),
    ),
    "bare parameter": of(
        lambda net, x: torch.tanh(net.inner(x)) @ net.extra, inner=linear(D, 8),
        extra=parameter(8, CLASSES),
    ),
    "unused head": of(
        lambda net, x: net.out(torch.tanh(net.inner(x))),
        inner=linear(D, 8), out=head, auxiliary=head,
    ),
    "asked and not used": of(
        lambda net, x: (net.auxiliary(net.inner(x)), net.out(net.inner(x)))[1],
        inner=linear(D, 8), out=head, auxiliary=head,
    ),
    "lstm": recurrent(nn.LSTM),
    "rnn": recurrent(nn.RNN),
    "gru": recurrent(nn.GRU),
    "tokens": written(Tokens),
    "vit": written(Vit),
    "vit with dropout": written(lambda: Vit(dropout=0.2)),
    "dropout": plain(lambda: nn.Dropout(0.3)),
    "alpha dropout": plain(nn.SELU, lambda: nn.AlphaDropout(0.3)),
    "own dropout": plain(lambda: DrivenDropout(0.3)),
    "own dropout, in place": plain(lambda: DrivenDropout(0.3), lambda: nn.ReLU(inplace=True)),
    "dropout, in place": plain(lambda: nn.Dropout(0.3), lambda: nn.ReLU(inplace=True)),
    "functional dropout": of(
        lambda net, x: net.out(functional.dropout(net.inner(x), 0.3, net.training)),
        inner=linear(D, 8), out=head,
    ),
    "noise": of(
        lambda net, x: net.out(net.inner(x) + net.training * torch.randn(len(x), 8)),
        inner=linear(D, 8), out=head,
    ),
    "weight norm": written(
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(D, 8)), nn.Tanh(), head()
        )
    ),
    "prelu": plain(nn.PReLU),
    "rrelu": plain(nn.RReLU),
    "group norm": plain(lambda: nn.GroupNorm(2, 8)),
    "frozen body": written(lambda: nn.Sequential(frozen(nn.Linear(D, 8)), nn.Tanh(), head())),
    "frozen bias": written(
        lambda: nn.Sequential(frozen(nn.Linear(D, 8), "bias"), nn.Tanh(), head())
    ),
    "frozen weight": written(
        lambda: nn.Sequential(frozen(nn.Linear(D, 8), "weight"), nn.Tanh(), head())
    ),
    "constant buffer": of(
        lambda net, x: net.out(net.inner(x) - net.mean),
        inner=linear(D, 8), out=head, mean=lambda: nn.Buffer(torch.ones(8)),
    ),
    "frozen embedding": of(
        lambda net, x: net.out((x[..., None] * net.table.weight).flatten(1)),
        table=lambda: frozen(nn.Embedding(D, 2)), out=linear(2 * D, CLASSES),
    ),
    "two inputs": of(lambda net, x: net.pair(x, x), pair=lambda: nn.Bilinear(D, D, CLASSES)),
}  # fmt: skip
"""What is trained, with clipping and without."""

BAD = {
    "centred": (
        of(lambda net, x: net.out(net.inner(x - x.mean(0))), inner=linear(D, 8), out=head),
        r"the network itself \(Of\) lets the examples of a batch change each other's",
    ),
    "centred inside": (
        plain(lambda: Of(lambda net, h: (h - h.mean(0)) / (h.std(0, correction=0) + 1))),
        r"layer '1' \(Of\) lets the examples",
    ),
    "centred in training": (
        plain(lambda: Of(lambda net, h: h - h.mean(0) if net.training else h)),
        r"layer '1' \(Of\) lets .* in training",
    ),
    "centred in evaluation": (
        plain(lambda: Of(lambda net, h: h if net.training else h - h.mean(0))),
        r"layer '1' \(Of\) lets .* in evaluation",
    ),
    "centred, behind zeros": (
        of(
            lambda net, x: net.out(net.gate * (x - x.mean(0))), out=linear(D, CLASSES),
            gate=lambda: nn.Parameter(torch.zeros(())),
        ),
        "lets the examples",
    ),
    "normalised": (plain(lambda: nn.BatchNorm1d(8)), r"layer '1' is BatchNorm1d"),
    "functional batch norm": (
        plain(lambda: Of(lambda net, h: functional.batch_norm(h, None, None, training=True))),
        r"layer '1' \(Of\) fails in training on inputs of shape \(1, 6\)",
    ),
    "mixed at random": (of(_batch_noise, inner=linear(D, 8), out=head), "lets the examples"),
    "decided by the batch": (
        plain(lambda: Of(lambda net, h: h if h.mean() > 0 else -h)), r"layer '1' \(Of\) lets"
    ),
    "softmax over the batch": (plain(lambda: nn.Softmax(0)), r"layer '1' \(Softmax\) lets"),
    "tuple": (
        of(lambda net, x: (net.out(x), x), out=linear(D, CLASSES)),
        r"\(Of\) in training returns tuple",
    ),
    "tuple in training": (
        of(lambda net, x: (net.out(x), x) if net.training else net.out(x), out=linear(D, CLASSES)),
        "in training returns tuple",
    ),
    "float64": (of(lambda net, x: net.out(x).double(), out=linear(D, CLASSES)), "torch.float64"),
    "float64 inside": (
        written(lambda: nn.Sequential(nn.Linear(D, CLASSES).double())), "parameter '0.weight' is"
    ),
    "one dimension more": (
        of(lambda net, x: net.out(x)[..., None], out=linear(D, CLASSES)), r"\(16, 4, 1\)"
    ),
    "squeezed": (
        of(lambda net, x: net.out(x).squeeze(), out=linear(D, CLASSES)), r"shape \(4,\) for 1"
    ),
    "other classes": (written(linear(D, CLASSES + 1)), r"returns shape \(16, 5\)"),
    "nan weights": (
        written(lambda: nn.Sequential(nn.Linear(D, CLASSES).requires_grad_(), _nan())),
        r"parameter '1.weight' of layer '1' \(Linear\) is not finite",
    ),
    "nan outputs": (
        plain(lambda: Of(lambda net, h: torch.log(h - h))), r"layer '1' \(Of\) returns values"
    ),
    "wrong width": (
        written(lambda: nn.Sequential(nn.Linear(D, 7), head())), r"layer '1' \(Linear\) fails"
    ),
    "no shape yet": (
        written(lambda: nn.Sequential(nn.LazyLinear(8), head())), r"'0' \(LazyLinear\) has no shape"
    ),
    "all frozen": (written(lambda: frozen(nn.Linear(D, CLASSES))), "no parameter is trained"),
    "no parameters": (written(lambda: Of(lambda net, x: x[:, :CLASSES])), "no parameter"),
    "no gradient": (
        of(lambda net, x: net.out(x).detach(), out=linear(D, CLASSES)), "cannot be differentiated"
    ),
    "random answers": (
        plain(lambda: Of(lambda net, h: functional.dropout(h, 0.5, training=True))),
        r"layer '1' \(Of\) is random in evaluation",
    ),
    "numpy": (
        plain(lambda: Of(lambda net, h: h * np.random.rand())),  # noqa: NPY002
        r"layer '1' \(Of\) gives other outputs when it is run again",
    ),
    "python's random, in vain": (
        plain(lambda: Of(lambda net, h: h + 0 * random.random())), "Python's random is drawn from"
    ),
    "own generator": (
        of(
            lambda net, x: net.out(x + net.training * torch.randn(D, generator=net.own)),
            out=linear(D, CLASSES), own=torch.Generator,
        ),
        "gives other outputs when it is run again",
    ),
    "spectral norm": (
        written(
            lambda: nn.Sequential(
                nn.utils.parametrizations.spectral_norm(nn.Linear(D, 8)), nn.Tanh(), head()
            )
        ),
        r"layer '0.parametrizations.weight.0' \(_SpectralNorm\) changes its '_u'",
    ),
    "cannot be built": (written(lambda: nn.Linear(D, -1)), "cannot be built"),
    "no module": (written(lambda: torch.tanh), "builds a builtin_function"),
}  # fmt: skip
"""What is refused, with clipping and without, and the message."""

ONLY_PLAIN = {
    "decided by values": (
        plain(lambda: Of(lambda net, h: torch.stack([r if r.mean() > 0 else -r for r in h]))),
        r"layer '1' \(Of\) decides by the values of its inputs",
    ),
    "decided by a rare value": (
        plain(lambda: Of(lambda net, h: h if h.abs().max() < 1e6 else 0 * h)),
        "decides by the",
    ),
}
"""What is trained without clipping, and refused with it."""


def _nan() -> nn.Module:
    layer = nn.Linear(CLASSES, CLASSES)
    layer.weight.data[0, 0] = torch.nan
    return layer
