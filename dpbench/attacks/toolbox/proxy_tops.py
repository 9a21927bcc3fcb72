"""Proxy tops: the last layer that training on public points would have given.

Softmax regressions on the inputs of a network's last affine layer, the layers below being the
network's own. Leino and Fredrikson 2020 subtract such a top from the network's: the difference is
the part of the last layer that is due to the members and not to the population.

The Hessian of the mean cross-entropy is at most `I outer X^T X / 2` (Boehning 1992): a step with
the inverse of that bound never overshoots, and with Nesterov's momentum a few dozen reach the
minimum of all penalties that matter. Penalties are fitted side by side; one for all models is
chosen by two-fold cross-validation on the public points, which know no bits, with the features of
the first few models.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax

from dpbench.arrays import Floats, Ints
from dpbench.attacks.base import NotApplicable

PENALTIES = np.logspace(-5, 0, 6)
"""Squared-norm penalties that are tried, in units of the features' mean square."""
_STEPS = 60
_TRIED_ON = 4
_NO_SPREAD = 1e-7
"""Variances below this share of the largest are rounding errors of single precision."""
_SMALLEST = 1e-30


class Tops(NamedTuple):
    """Softmax regressions of K models.

    Attributes:
        weights: `(K, C, h + 1)`, bias as the last column.
        penalty: The penalty of all of them, in units of their features' mean square.
    """

    weights: Floats
    penalty: float


def proxy_tops(features: Floats, labels: Ints, *, n_classes: int) -> Tops:
    """Returns softmax regressions on public points, in float64.

    Args:
        features: `(K, r, h)`; models that share one array of features share one top.
        labels: `(r,)`.
        n_classes: Number of classes C.

    Raises:
        NotApplicable: There are too few public points to choose a penalty.
    """
    if len(labels) < 2:
        raise NotApplicable("a proxy is trained on public points, and there are fewer than two")
    # A stride of 0: all models have the same features (softmax regressions), and so the same top.
    shared = features.strides[0] == 0
    known = features[: 1 if shared else _TRIED_ON]
    held_out = np.sum([_held_out(given, labels, n_classes) for given in known], axis=0)
    best = PENALTIES[[int(np.argmin(held_out))]]
    tops = [
        fit_softmax(given, labels, best, n_classes=n_classes)[0]
        for given in features[: 1 if shared else None]
    ]
    shape = (len(features), *tops[0].shape)
    return Tops(np.broadcast_to(np.stack(tops), shape), float(best[0]))


def _held_out(features: Floats, labels: Ints, n_classes: int) -> Floats:
    """Returns the two-fold cross-entropy of every penalty, `(k,)`, summed over points."""
    losses = np.zeros(len(PENALTIES))
    folds = np.arange(0, len(labels), 2), np.arange(1, len(labels), 2)
    for fold, others in (folds, folds[::-1]):
        tops = fit_softmax(features[fold], labels[fold], PENALTIES, n_classes=n_classes)
        weights, bias = tops[..., :-1].astype(features.dtype), tops[:, None, :, -1]
        log_p = log_softmax(features[others] @ weights.swapaxes(1, 2) + bias, axis=-1)
        losses -= log_p[:, np.arange(len(others)), labels[others]].sum(1)
    return losses


def fit_softmax(features: Floats, labels: Ints, penalties: Floats, *, n_classes: int) -> Floats:
    """Returns one softmax regression `(C, h + 1)` for each of k penalties, `(k, C, h + 1)`.

    It minimises the mean cross-entropy plus half the penalty times the mean square of the features
    times the squared norm of the weights, bias excepted. Descent is along the principal directions
    of the features, in which the bound on the Hessian is diagonal for every penalty.

    Args:
        features: `(r, h)`.
        labels: `(r,)`.
        penalties: `(k,)`, positive.
        n_classes: Number of classes C.
    """
    center = features.mean(0, dtype=np.float64)
    centred = (features - center).astype(np.float32)
    spread, directions = np.linalg.eigh((centred.T @ centred / len(features)).astype(np.float64))
    # Directions in which no feature varies distinguish no classes: weights stay zero there.
    kept = spread > _NO_SPREAD * spread.max(initial=0.0)
    spread, directions = spread[kept], directions[:, kept]
    rotated = centred @ directions.astype(np.float32)
    inputs = np.concatenate([rotated, np.ones_like(rotated, shape=(len(rotated), 1))], axis=1)
    square = max(float(np.square(features, dtype=np.float64).mean()), _SMALLEST)
    decay = penalties[:, None, None] * np.append(np.full(len(spread), square), 0.0)
    # The bias is a feature that is 1: its mean square is 1, and it has no penalty.
    curvature = np.append(spread, 1.0) / 2 + decay
    found = _descent(
        inputs, labels, decay.astype(np.float32), curvature.astype(np.float32), n_classes
    )
    weights = found[..., :-1] @ directions.T
    # The weights were fitted to centred features; the bias makes up for the centre.
    bias = found[..., -1] - weights @ center
    joined: Floats = np.concatenate([weights, bias[..., None]], axis=2)
    return joined


def _descent(
    inputs: Floats, labels: Ints, decay: Floats, curvature: Floats, n_classes: int
) -> Floats:
    """Returns weights `(k, C, q)` from steps of Nesterov's method with a diagonal bound."""
    own = np.eye(n_classes, dtype=np.float32)[labels][:, None]
    weights: Floats = np.zeros((len(decay), n_classes, inputs.shape[1]), np.float32)
    ahead = weights
    for step in range(_STEPS):
        errors = _softmax(inputs @ ahead.reshape(-1, inputs.shape[1]).T, n_classes)
        errors -= own
        gradient = (errors.reshape(len(inputs), -1).T @ inputs).reshape(ahead.shape)
        gradient /= np.float32(len(inputs))
        moved = ahead - (gradient + ahead * decay) / curvature
        ahead = moved + np.float32(step / (step + 3)) * (moved - weights)
        weights = moved
    return weights.astype(np.float64)


def _softmax(logits: Floats, n_classes: int) -> Floats:
    """Returns the probabilities `(r, k, C)` of logits `(r, k C)`, in their place."""
    values = logits.reshape(len(logits), -1, n_classes)
    values -= values.max(-1, keepdims=True)
    np.exp(values, out=values)
    values /= values.sum(-1, keepdims=True)
    return values
