"""The membership game: who is a member of which model, and what the owner trains on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dpbench.arrays import Bools as Bools
from dpbench.data import Population, membership
from dpbench.training.task import TrainingData


@dataclass(frozen=True, kw_only=True, eq=False)
class MembershipGame:
    """A population whose membership bits are drawn from one seed.

    The bits of a model depend on its number alone, so a game has as many models as are trained.

    Attributes:
        population: The data, loaded and split.
        seed: Every random draw of the game derives from it.
    """

    population: Population
    seed: int

    def identity(self) -> dict[str, Any]:
        """Returns what enters a key."""
        return {"population": self.population.digest, "seed": self.seed}

    def members(self, models: Sequence[int]) -> Bools:
        """Returns the membership bits `(m, n)` of the whole pool, for models by number."""
        return membership(self.population, models=models, seed=self.seed)

    def challenge_members(self, models: int) -> Bools:
        """Returns the bits `(M, k)` of the first M models on the points whose bits are random."""
        return _challenge_members(self, models)

    def bits_of(self, scores: NDArray[np.floating]) -> Bools:
        """Returns the bits of scores `(m, k)`: of the first models and challenge points."""
        models, points = scores.shape
        return self.challenge_members(models)[:, :points]

    @property
    def challenges(self) -> int:
        """Number of points whose bits are random."""
        return int(self.population.challenge.sum())

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


@lru_cache(maxsize=4)
def _challenge_members(game: MembershipGame, models: int) -> Bools:
    return np.ascontiguousarray(game.members(range(models))[:, game.population.challenge])
