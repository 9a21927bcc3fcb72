"""Canaries: pool examples replaced by ones that are easy to memorise, which alone are audited.

After Aerni, Zhang & Tramèr, "Evaluations of Machine Learning Privacy Defenses are Misleading"
(CCS 2024), section 4: a defense is judged by the examples it protects worst.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, combinations, islice
from typing import Annotated, Literal, NamedTuple, assert_never

import numpy as np
from pydantic import Field
from scipy import linalg

from dpbench.component import Settings
from dpbench.data.base import Bools, Floats, Ints
from dpbench.data.scaling import Scaling
from dpbench.data.splitting import first_occurrences
from dpbench.errors import UserError

PIXEL_NOISE = 0.02
"""Deviation of a near-duplicate's pixels from its original's; 1 is black to white."""

COLUMN_NOISE = 0.01
"""Deviation of a near-duplicate's continuous columns, in standard deviations of the column."""

DIRECTION_DIGITS, LENGTH_DIGITS = 5, 2
"""Decimal digits of a gradient canary's unit direction and of its length."""


@dataclass(frozen=True, kw_only=True)
class Canaries(Settings):
    """Which canaries a pool gets. [Aerni et al. 2024].

    Attributes:
        kind: `mislabelled`: a wrong label, uniform over the others. Worst for most defenses.
            `duplicate`: the features of a pool example that is always a member, plus small noise
            (one flipped bit where no feature is continuous), under a label other than its own.
            Worst for defenses that split the data, such as SELENA.
            `blank`: raw zeros and a random label; one bright feature, another for each canary (two
            when there are more canaries than features), tells them apart, because identical inputs
            would share one score.
            `out_of_distribution`: uniform noise in the features' ranges and a random label. (Aerni
            et al. use images of another data set.)
            `gradient`: as long as the longest other pool example, along a direction of its own that
            the others hardly use, under the label that a linear model finds least likely there:
            its gradient is large and nearly orthogonal to all others. After ClipBKD [Jagielski et
            al. 2020, arXiv:2006.07709]. Bits stay 0 and continuous features leave their ranges.
        count: How many pool examples are replaced, at random positions.
    """

    kind: Literal["mislabelled", "duplicate", "blank", "out_of_distribution", "gradient"]
    count: Annotated[int, Field(ge=1)]


class PlantedCanaries(NamedTuple):
    """A pool with its canaries: inputs `(n, *shape)`, labels `(n,)`, and where they are `(n,)`."""

    inputs: Floats
    labels: Ints
    challenge: Bools


def plant(
    canaries: Canaries,
    inputs: Floats,
    labels: Ints,
    *,
    n_classes: int,
    scaling: Scaling,
    rng: np.random.Generator,
) -> PlantedCanaries:
    """Returns the pool with `canaries.count` of its examples replaced.

    Args:
        canaries: Kind and number.
        inputs: `(n, *shape)` standardised pool inputs, left as they are.
        labels: `(n,)` their labels, left as they are.
        n_classes: Number of classes.
        scaling: Feature ranges, units and bits.
        rng: The canaries' own generator.

    Raises:
        UserError: The pool or its features have no room for that many distinct canaries.
    """
    n, count = len(labels), canaries.count
    room = _room(canaries.kind, n, scaling)
    if room < 1:
        raise UserError(
            f"population.canaries.kind: {canaries.kind} canaries need continuous features, and "
            "these inputs hold bits only",
            next_step="use mislabelled, duplicate, blank or out_of_distribution",
        )
    if count > room:
        raise UserError(
            f"population.canaries.count: {count} {canaries.kind} canaries in a pool of {n}",
            allowed=f"1 to {room}",
        )
    order = rng.permutation(n)
    where, originals = order[:count], order[count : 2 * count]
    inputs, labels = inputs.copy(), labels.copy()
    match canaries.kind:
        case "mislabelled":
            labels[where] = _other(labels[where], n_classes, rng)
        case "duplicate":
            inputs[where] = _near(inputs[originals], scaling, rng)
            labels[where] = _other(labels[originals], n_classes, rng)
        case "blank":
            inputs[where] = _blank(count, scaling, rng)
            labels[where] = rng.integers(n_classes, size=count)
        case "out_of_distribution":
            inputs[where] = _noise(count, scaling, rng)
            labels[where] = rng.integers(n_classes, size=count)
        case "gradient":
            others = np.delete(inputs, where, axis=0), np.delete(labels, where)
            inputs[where], labels[where] = _crafted(count, *others, n_classes, scaling)
        case _:
            assert_never(canaries.kind)
    if len(first_occurrences(inputs)) < n:
        raise _too_few_features(canaries.kind, count)
    return PlantedCanaries(inputs, labels, np.isin(np.arange(n), where))


def _other(labels: Ints, n_classes: int, rng: np.random.Generator) -> Ints:
    return (labels + rng.integers(1, n_classes, size=len(labels))) % n_classes


def _near(originals: Floats, scaling: Scaling, rng: np.random.Generator) -> Floats:
    varies = ~scaling.binary & (scaling.high > scaling.low)
    near = originals.copy()
    if varies.any():
        deviation = (PIXEL_NOISE if scaling.is_image else COLUMN_NOISE) * scaling.unit * varies
        near += (rng.standard_normal(near.shape) * deviation).astype(np.float32)
        return np.clip(near, scaling.low, scaling.high) if scaling.is_image else near
    bits = rng.choice(np.flatnonzero(scaling.binary), size=len(near))
    flat, rows = near.reshape(len(near), -1), np.arange(len(near))
    flat[rows, bits] = 1 - flat[rows, bits]
    return near


def _blank(count: int, scaling: Scaling, rng: np.random.Generator) -> Floats:
    zero, high = scaling.zero.ravel(), scaling.high.ravel()
    usable = rng.permutation(np.flatnonzero(high != zero))
    patterns = list(islice(_subsets(usable), count))
    if len(patterns) < count:
        raise _too_few_features("blank", count)
    blank = np.tile(zero, (count, 1))
    for row, pattern in zip(blank, patterns, strict=True):
        row[list(pattern)] = high[list(pattern)]
    return blank.reshape(count, *scaling.zero.shape)


def _subsets(items: Ints) -> Iterator[tuple[int, ...]]:
    """Yields single items, then pairs, and so on: each another pattern."""
    return chain.from_iterable(combinations(items, size) for size in range(1, len(items) + 1))


def _noise(count: int, scaling: Scaling, rng: np.random.Generator) -> Floats:
    shape = (count, *scaling.low.shape)
    noise = rng.uniform(scaling.low, scaling.high, size=shape)
    return np.where(scaling.binary, rng.integers(2, size=shape), noise).astype(np.float32)


def _crafted(
    count: int, inputs: Floats, labels: Ints, n_classes: int, scaling: Scaling
) -> tuple[Floats, Ints]:
    """Returns gradient-crafted inputs `(count, *shape)` and their labels `(count,)`.

    The directions are the eigenvectors of least energy of the others' second moment, not centred:
    gradients of a linear layer are orthogonal where inputs are. (LAPACK chooses among directions of
    equal energy, such as pixels that never vary.) Along an eigenvector the classes' scores of a
    ridge regression on one-hot labels are proportional to its products with the sums of the
    classes' inputs, whatever the ridge. Of the two signs, the canary takes the one under which the
    least likely class is less likely.
    """
    free = np.flatnonzero(~scaling.binary)
    flat = inputs.reshape(len(inputs), -1).astype(np.float64)
    rows = flat[:, free]
    _, vectors = linalg.eigh(rows.T @ rows, subset_by_index=(0, count - 1))
    sums = np.stack([rows[labels == label].sum(axis=0) for label in range(n_classes)], axis=1)
    scores = vectors.T @ (sums - sums.mean(axis=1, keepdims=True))
    sign = np.where(scores.max(axis=1) > -scores.min(axis=1), -1, 1)[:, None]
    length = round(float(np.linalg.norm(flat, axis=1).max()), LENGTH_DIGITS)
    crafted = np.zeros((count, flat.shape[1]), dtype=np.float32)
    # Rounded, because the last digits of an eigenvector depend on the processor.
    crafted[:, free] = length * sign * np.round(vectors.T, DIRECTION_DIGITS)
    return crafted.reshape(count, *inputs.shape[1:]), (sign * scores).argmin(axis=1)


def _room(kind: str, n: int, scaling: Scaling) -> int:
    """Returns how many canaries a pool of n can hold."""
    if kind == "gradient":
        return min(n - 1, int((~scaling.binary).sum()))
    return n // 2 if kind == "duplicate" else n


def _too_few_features(kind: str, count: int) -> UserError:
    return UserError(
        f"population.canaries.count: {count} {kind} canaries cannot all differ from each other "
        "and from the pool",
        next_step="ask for fewer canaries, or for another kind",
    )
