"""The population: a pool whose membership is the secret, a test set, and a public reference set."""

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, cast

import numpy as np
from pydantic import Field

from dpbench.component import Settings, find
from dpbench.data.base import Array, Bools, Dataset, Floats, Ints, RawData, no_bits
from dpbench.data.canaries import Canaries, PlantedCanaries, plant
from dpbench.data.published import data_folder
from dpbench.data.scaling import Scaling, average_pool
from dpbench.data.splitting import MIN_REFERENCE, DataSplit, first_occurrences, split
from dpbench.data.understood import understood
from dpbench.errors import UserError
from dpbench.seeds import rng_for


@dataclass(frozen=True, kw_only=True)
class PopulationSpec(Settings):
    """The `population:` block of a grid.

    Attributes:
        dataset: Name of a data set, or `file`.
        path: The user's file, for `dataset: file`.
        pool: Number n of pool examples.
        test: Number of test examples. None takes all of the official test part, or a fifth of the
            data where there is none; 10,000 at most.
        reference: Number of public examples. None takes what is left of the training part, at most
            `pool`.
        average_pool: Side of the blocks over which images are averaged; 2 halves their resolution.
        classes: Keep only these labels, relabelled 0..k-1 in this order.
        canaries: Replace part of the pool by canaries, and audit only those.
        part: `tuning` plays another game with the reference set alone: half of it is the pool, a
            quarter the test set, a quarter the reference set. What is chosen there has seen neither
            the pool nor the test set of `evaluation`.
    """

    dataset: str
    path: str | None = None
    pool: Annotated[int, Field(ge=20)]
    test: Annotated[int, Field(ge=1)] | None = None
    reference: Annotated[int, Field(ge=MIN_REFERENCE)] | None = None
    average_pool: Annotated[int, Field(ge=1)] = 1
    classes: tuple[Annotated[int, Field(ge=0)], ...] | None = None
    canaries: Canaries | None = None
    part: Literal["evaluation", "tuning"] = "evaluation"


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Three disjoint sets of distinct inputs, standardised by the reference set alone.

    Attributes:
        pool_x, pool_y: `(n, *shape)` float32 and `(n,)` int64, the examples a model may learn from.
        test_x, test_y: For utility only.
        reference_x, reference_y: Public: the adversary and the defenses may use them freely.
        challenge: `(n,)` bool, whose membership is random: all, or only the canaries. The others
            are members of every model.
        n_classes: Number of classes.
        shape: Shape of one input.
        is_image: Inputs are `(channels, height, width)`.
        low, high: `(*shape)` float32 feature ranges in input units: black and white for images, 0
            and 1 for bits, the reference set's extremes for continuous columns.
        unit: `(*shape)` float32, the size of one raw unit: black to white for images, one
            standard deviation for continuous columns, 1 for bits.
        binary: `(*shape)` bool, features that take only the values low and high.
        understood: What the data were taken for: a line, and a line for every note.
    """

    pool_x: Floats
    pool_y: Ints
    test_x: Floats
    test_y: Ints
    reference_x: Floats
    reference_y: Ints
    challenge: Bools
    n_classes: int
    shape: tuple[int, ...]
    is_image: bool
    low: Floats
    high: Floats
    unit: Floats
    binary: Bools
    understood: str = ""
    digest: str = dataclasses.field(init=False)
    """BLAKE2b over all arrays above; it enters the keys of what is trained on this population."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", _digest(self))

    @property
    def expected_members(self) -> float:
        """Members a model has on average: half the challenge points and all others."""
        return float(self.challenge.sum() / 2 + (~self.challenge).sum())


def load_population(spec: PopulationSpec, *, seed: int, data_dir: Path | None) -> Population:
    """Loads, deduplicates, splits, standardises and plants canaries, in this order.

    Args:
        spec: What to load.
        seed: The grid's seed; the same seed gives the same population to the last bit.
        data_dir: The folder of downloaded sets; None asks `DPBENCH_DATA`, then the cache folder.

    Raises:
        UserError: The data are missing or damaged, or the spec asks for what they do not have.
    """
    spec = PopulationSpec.parse(spec.to_json(), where="population")
    raw = _reduced(_dataset(spec).load(data_folder(data_dir)), spec)
    inputs, labels = _joined(raw)
    part = _split(inputs, spec, n_train=len(raw.train_y), seed=seed)
    if spec.part == "tuning":
        part = _tuning(part.reference)
    scaling = Scaling.fit(inputs[part.reference], binary=raw.binary, is_image=raw.is_image)
    everyone = np.ones(len(part.pool), dtype=bool)
    pool = PlantedCanaries(scaling.apply(inputs[part.pool]), labels[part.pool], everyone)
    if spec.canaries is not None:
        pool = plant(
            spec.canaries,
            pool.inputs,
            pool.labels,
            n_classes=raw.n_classes,
            scaling=scaling,
            rng=rng_for(seed, "canaries"),
        )
    return Population(
        pool_x=pool.inputs,
        pool_y=pool.labels,
        test_x=scaling.apply(inputs[part.test]),
        test_y=labels[part.test],
        reference_x=scaling.apply(inputs[part.reference]),
        reference_y=labels[part.reference],
        challenge=pool.challenge,
        n_classes=raw.n_classes,
        shape=inputs.shape[1:],
        is_image=raw.is_image,
        low=scaling.low,
        high=scaling.high,
        unit=scaling.unit,
        binary=scaling.binary,
        understood=understood(raw, name=spec.path or spec.dataset),
    )


def membership(population: Population, *, models: int | Sequence[int], seed: int) -> Bools:
    """Draws who is a member of which model.

    Bits of challenge points are independent Bernoulli(1/2), never balanced: a balanced design would
    let the shadows' counts reveal the target's bit. All other pool examples are members.

    Args:
        population: The population; only `challenge` is read.
        models: Number M of models, or the numbers of M models.
        seed: The grid's seed. Row m depends on nothing but the seed, m and the pool's size, so
            adding models leaves the others as they are.

    Returns:
        `(M, n)` bool.
    """
    n = len(population.challenge)
    numbers = range(models) if isinstance(models, int) else models
    rows = [rng_for(seed, "membership", m).integers(2, size=n) == 1 for m in numbers]
    return np.reshape(rows, (len(numbers), n)).astype(bool) | ~population.challenge


def _dataset(spec: PopulationSpec) -> Dataset:
    found = cast(type[Dataset], find("dataset", spec.dataset, where="population.dataset"))
    takes_path = "path" in {field.name for field in dataclasses.fields(found)}
    if takes_path and spec.path is None:
        raise UserError(
            f"population.path: missing, but dataset '{spec.dataset}' reads a file of yours",
            next_step="add path: X.npz (keys x, y) or X.csv",
        )
    if not takes_path and spec.path is not None:
        raise UserError(
            f"population.path: dataset '{spec.dataset}' takes no path",
            next_step="remove it, or write dataset: file",
        )
    return found.parse({"path": spec.path} if takes_path else {}, where="population")


def _reduced(raw: RawData, spec: PopulationSpec) -> RawData:
    """Keeps the wanted classes and averages the images."""
    if spec.classes is not None:
        raw = _with_classes(raw, spec.classes)
    if not raw.is_image:
        if spec.average_pool > 1:
            raise UserError(
                f"population.average_pool: '{spec.dataset}' holds no images",
                allowed="1",
                next_step="remove average_pool",
            )
        return raw
    train_x = average_pool(raw.train_x, spec.average_pool)
    return raw._replace(
        train_x=train_x,
        test_x=None if raw.test_x is None else average_pool(raw.test_x, spec.average_pool),
        binary=no_bits(train_x.shape[1:]),
    )


def _with_classes(raw: RawData, classes: tuple[int, ...]) -> RawData:
    if len(set(classes)) != len(classes) or len(classes) < 2 or max(classes) >= raw.n_classes:
        raise UserError(
            f"population.classes: {list(classes)} is not valid",
            allowed=f"two or more different labels from 0 to {raw.n_classes - 1}",
        )
    relabel = np.full(raw.n_classes, -1, dtype=np.int64)
    relabel[list(classes)] = np.arange(len(classes))
    train_y, test_y = relabel[raw.train_y], None
    train_x, test_x = raw.train_x[train_y >= 0], None
    if raw.test_x is not None:
        test_y = relabel[raw.test_y]
        test_x, test_y = raw.test_x[test_y >= 0], test_y[test_y >= 0]
    names = raw.told.class_names or tuple(map(str, range(raw.n_classes)))
    return raw._replace(
        train_x=train_x,
        train_y=train_y[train_y >= 0],
        test_x=test_x,
        test_y=test_y,
        n_classes=len(classes),
        told=raw.told._replace(class_names=tuple(names[label] for label in classes)),
    )


def _joined(raw: RawData) -> tuple[Array, Ints]:
    if raw.test_x is None or raw.test_y is None:
        return raw.train_x, raw.train_y
    return np.concatenate([raw.train_x, raw.test_x]), np.concatenate([raw.train_y, raw.test_y])


def _split(inputs: Array, spec: PopulationSpec, *, n_train: int, seed: int) -> DataSplit:
    distinct = first_occurrences(inputs)
    return split(
        distinct[distinct < n_train],
        distinct[distinct >= n_train],
        pool=spec.pool,
        test=spec.test,
        reference=spec.reference,
        seed=seed,
    )


def _tuning(reference: Ints) -> DataSplit:
    """Splits a reference set, which is in random order, into the three parts of a smaller game.

    Raises:
        UserError: It is too small.
    """
    half = len(reference) // 2
    quarter = half // 2
    if quarter < MIN_REFERENCE:
        raise UserError(
            f"population.reference: {len(reference)} public examples are too few to tune on",
            allowed=f"at least {4 * MIN_REFERENCE}",
        )
    return DataSplit(
        pool=reference[:half],
        test=reference[half : half + quarter],
        reference=reference[half + quarter :],
    )


def _digest(population: Population) -> str:
    state = hashlib.blake2b(digest_size=16)
    for field in dataclasses.fields(population):
        if field.init and field.name != "understood":
            value = getattr(population, field.name)
            array = np.ascontiguousarray(value)
            state.update(f"{field.name}:{array.dtype.str}:{np.shape(value)};".encode())
            state.update(array.tobytes())
    return state.hexdigest()
