"""Nasr: a network that learns from some of the target's own members to recognise the others."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from scipy.special import log_softmax, logsumexp

from dpbench.arrays import Floats, Ints
from dpbench.attacks.base import Access, Attack, View
from dpbench.attacks.toolbox.supervised_network import Components, SupervisedNetworks
from dpbench.component import register

_MODELS_AT_ONCE = 8
_FARTHEST = 5.0
"""Standardised components are clipped here: one extreme example must not outweigh all others."""
_SMALLEST = 1e-30


@register
@dataclass(frozen=True, kw_only=True)
class Nasr(Attack):
    """The supervised white-box attack (Nasr, Shokri and Houmansadr 2019, section III).

    The adversary knows some of the target's members and non-members. Points are split in two
    halves, the same for all targets; a network trained on the bits of one half scores the other,
    and the reverse, so that no point's own bit enters its score. It reads, each through an encoder
    of its own: the gradient of the last affine layer, that layer's inputs, the log-probabilities,
    the label, and the loss with the logit-scaled confidence. Gradients of the layers below are not
    used. It assumes that one rule distinguishes members for all points of a target, and that half
    of the bits are enough to learn it. Without shadows, it knows nothing of how hard a particular
    point is.

    Attributes:
        epochs: Passes over the known half.
        batch: Examples in a step.
        learning_rate: Adam's step length at the start.
        weight_decay: Shrinks the weights by this times the step length at every step.
        code: Units of every encoder.
        hidden: Units of the layer that joins them.
    """

    access: ClassVar[Access] = Access.WHITE_BOX
    knows_other_bits: ClassVar[bool] = True
    reference: ClassVar[str] = (
        "Nasr, Shokri and Houmansadr, Comprehensive Privacy Analysis of Deep Learning: Passive and "
        "Active White-box Inference Attacks, IEEE S&P 2019"
    )

    epochs: Annotated[int, Field(ge=1)] = 8
    batch: Annotated[int, Field(ge=1)] = 250
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.01
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    code: Annotated[int, Field(ge=1)] = 8
    hidden: Annotated[int, Field(ge=1)] = 32

    @property
    def budget(self) -> int:
        """Features and logits."""
        return 2

    def score(self, view: View) -> Floats:
        """Returns the log odds of membership.

        Raises:
            NotApplicable: There are no weights to see, or the network does not end in an affine
                layer.
        """
        features, logits = view.target.features(), view.target.logits()
        # The split and both seeds are the same for all targets: a target's scores must not depend
        # on the others in its block.
        halves = np.array_split(view.rng.permutation(len(view.labels)), 2)
        seeds = view.rng.integers(2**63, size=2)
        scores = np.empty(view.members.shape)
        for first in range(0, len(scores), _MODELS_AT_ONCE):
            some = slice(first, first + _MODELS_AT_ONCE)
            given = components(features[some], logits[some], view.labels)
            bits = view.members[some].astype(np.float32)
            for seed, (known, scored) in zip(seeds, (halves, halves[::-1]), strict=True):
                networks = self._taught(given.at(known), bits[:, known], int(seed))
                scores[some, scored] = networks.forward(given.at(scored)).log_odds[..., 0]
        return scores

    def _taught(self, given: Components, bits: Floats, seed: int) -> SupervisedNetworks:
        """Returns one network per target; all start alike and see the points in the same order."""
        rng = np.random.default_rng(seed)
        networks = SupervisedNetworks.start(given, code=self.code, hidden=self.hidden, rng=rng)
        networks.train(
            given,
            bits,
            epochs=self.epochs,
            batch=self.batch,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            rng=rng,
        )
        return networks


def components(features: Floats, logits: Floats, labels: Ints) -> Components:
    """Returns the scaled inputs of each target's network, float32.

    All are standardised within a target over the points, which knows no bits. The factors of the
    gradient keep their zero and are divided by their root mean square: centred factors would no
    longer multiply to the gradient.

    Args:
        features: `(K, n, h)` inputs of the last affine layer.
        logits: `(K, n, C)`.
        labels: `(n,)` true labels.
    """
    log_p = log_softmax(logits.astype(np.float64), axis=2)
    rows = np.arange(len(labels))
    own = np.eye(logits.shape[2], dtype=np.float32)[labels]
    losses = -log_p[:, rows, labels]
    others = log_p.copy()
    others[:, rows, labels] = -np.inf
    confidence = -losses - logsumexp(others, axis=2)
    joined = np.concatenate([features, np.ones_like(features[..., :1])], axis=2)
    plain = (
        _standardised(features),
        _standardised(log_p),
        np.broadcast_to(own, log_p.shape),
        _standardised(np.stack([losses, confidence], axis=2)),
    )
    return Components(plain, (_scaled(joined), _scaled(np.exp(log_p) - own)))


def _standardised(values: Floats) -> Floats:
    spread = values.std(1, keepdims=True)
    standard: Floats = (values - values.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1)
    return _clipped(standard)


def _scaled(values: Floats) -> Floats:
    size = np.sqrt(np.square(values).mean((1, 2), keepdims=True)) + _SMALLEST
    return _clipped(values / size)


def _clipped(values: Floats) -> Floats:
    return np.clip(values, -_FARTHEST, _FARTHEST).astype(np.float32)
