"""What a job is: work with a key, whose inputs are the grid and the results of other jobs."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from dpbench.data import Population, load_population, membership
from dpbench.grid.array_file import Arrays
from dpbench.grid.spec import AVERAGE, Grid
from dpbench.grid.store import Store
from dpbench.training.task import TrainingData

# The reference core of design.md section 4; nominal seconds are work divided by this rate.
REFERENCE_FLOPS = 80e9


@dataclass
class Context:
    """What every job of a track may use; loaded once per process.

    Attributes:
        grid: The study.
        store: Where results are.
        device: Torch device for training and queries.
        data_dir: Folder of downloaded sets.
        track: Whose population this is.
    """

    grid: Grid
    store: Store
    device: str = "cpu"
    data_dir: Path | None = None
    track: str = AVERAGE
    cache: dict[str, Any] = field(default_factory=dict)

    def on(self, track: str) -> "Context":
        """Returns the same run on a track of its grid."""
        if track == self.track:
            return self
        if track not in self.cache:
            self.cache[track] = replace(self, track=track, cache={})
        other: Context = self.cache[track]
        return other

    @cached_property
    def population(self) -> Population:
        """The data, loaded and split."""
        spec = self.grid.tracks[self.track]
        return load_population(spec, seed=self.grid.seed, data_dir=self.data_dir)

    @cached_property
    def members(self) -> NDArray[np.bool_]:
        """Membership bits `(M, n)` of the whole pool."""
        return membership(self.population, models=self.grid.models, seed=self.grid.seed)

    @cached_property
    def challenge_members(self) -> NDArray[np.bool_]:
        """Membership bits of the points whose bits are random, `(M, n)`."""
        return np.ascontiguousarray(self.members[:, self.population.challenge])

    def bits_of(self, scores: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Returns the membership bits of scores `(m, k)`: of the first models and points."""
        models, points = scores.shape
        return self.challenge_members[:models, :points]

    def correct(self, observed: str) -> NDArray[np.bool_]:
        """Returns which test answers were right, `(M, tests)`, by the key of what was observed."""
        packed = self.store.array(observed, "test_correct")
        return np.unpackbits(packed, axis=1, count=len(self.population.test_y)).view(bool)

    @cached_property
    def training_data(self) -> TrainingData:
        """The pool and the reference set as tensors."""
        population = self.population
        return TrainingData(
            inputs=torch.from_numpy(population.pool_x),
            targets=torch.from_numpy(population.pool_y),
            reference_inputs=torch.from_numpy(population.reference_x),
            reference_targets=torch.from_numpy(population.reference_y),
        )


class Output(NamedTuple):
    """What a job leaves in the store."""

    record: Mapping[str, Any]
    arrays: Arrays | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Job(ABC):
    """One unit of work.

    Attributes:
        key: Content key of everything the result depends on.
        label: What it is, for people.
        parents: Keys of the jobs whose results it reads.
        tolerant: It runs without the parents that failed, as long as one has a result.
        track: The track it belongs to.
        seconds: Nominal cost: work divided by the rate of one reference core.
    """

    key: str
    label: str
    parents: tuple[str, ...]
    seconds: float
    tolerant: bool = False
    track: str = AVERAGE

    @property
    @abstractmethod
    def kind(self) -> str:
        """train, observe, attack or evaluate."""

    @abstractmethod
    def run(self, context: Context) -> Output:
        """Does the work.

        Raises:
            Diverged, NotApplicable: There is no result, for a reason the tables show.
        """
