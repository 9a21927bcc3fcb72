"""A study: a grid, its data, and the store that holds its results."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dpbench.data import Population, load_population
from dpbench.game.membership_game import MembershipGame
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job
from dpbench.jobs.store import Store
from dpbench.study.spec import AVERAGE, Grid


@dataclass
class Context:
    """A grid with its data and its store, on one track. Data are loaded when first needed.

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
    tracks: "dict[str, Context]" = field(default_factory=dict, repr=False)

    def on(self, track: str) -> "Context":
        """Returns the same study on a track of its grid."""
        if track == self.track:
            return self
        if track not in self.tracks:
            self.tracks[track] = replace(self, track=track, tracks={})
        return self.tracks[track]

    @cached_property
    def population(self) -> Population:
        """The data, loaded and split."""
        spec = self.grid.tracks[self.track]
        return load_population(spec, seed=self.grid.seed, data_dir=self.data_dir)

    @cached_property
    def game(self) -> MembershipGame:
        """The membership game on these data."""
        return MembershipGame(population=self.population, seed=self.grid.seed)

    @property
    def challenge_members(self) -> NDArray[np.bool_]:
        """Membership bits `(M, k)` of the points whose bits are random."""
        return self.game.challenge_members(self.grid.models)

    def bits_of(self, scores: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Returns the membership bits of scores `(m, k)`: of the first models and points."""
        return self.game.bits_of(scores)

    def results(self, job: Job) -> Inputs:
        """Returns what a job may read, to ask its models again or to read its scores."""
        return Inputs(job, self.store, device=self.device)

    def correct(self, observed: str) -> NDArray[np.bool_]:
        """Returns which test answers were right, `(M, tests)`, by the key of an observation."""
        packed = self.store.array(observed, "test_correct")
        return np.unpackbits(packed, axis=1, count=len(self.population.test_y)).view(bool)
