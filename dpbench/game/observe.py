"""Querying a cell's models: what they release on the pool, and how useful they are."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dpbench.game.cost import REFERENCE_FLOPS
from dpbench.game.membership_game import MembershipGame
from dpbench.game.released_models import ReleasedModels
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job, Output, unkeyed


@dataclass(frozen=True, kw_only=True, eq=False)
class ObserveJob(Job):
    """Queries every model on the challenge points, the whole pool and the test set.

    The result holds `outputs (M, k, C)` float32, what is released on the k challenge points, and
    `test_correct (M, tests / 8)`, packed bits.

    Attributes:
        models: The released models.
        cell: The defense that asked first, for the label.
    """

    kind: ClassVar[str] = "observe"
    version: ClassVar[int] = 1
    rank: ClassVar[int] = 2

    models: ReleasedModels
    cell: str = unkeyed()

    @property
    def game(self) -> MembershipGame:
        """The data and the bits behind the models."""
        return self.models.game

    @property
    def label(self) -> str:
        """What it does."""
        return f"observe {self.cell}"

    @cached_property
    def seconds(self) -> float:
        """Forward passes of the undefended network over pool and test set."""
        population = self.game.population
        asked = (len(population.pool_x) + len(population.test_x)) * self.models.n_models
        return 2 * self.models.parameters * asked / REFERENCE_FLOPS

    def run(self, inputs: Inputs) -> Output:
        """Returns released scores on the challenge points and correctness on the test set."""
        population = self.game.population
        challenge = torch.from_numpy(population.challenge)
        right = []
        outputs = inputs.new_rows()
        for pool in self._query(inputs, population.pool_x, "pool"):
            right.append(_right(pool, population.pool_y))
            outputs.append(pool[:, challenge].numpy())
        tests = self._query(inputs, population.test_x, "test")
        on_test = np.concatenate([_right(test, population.test_y) for test in tests])
        members = self.game.members(range(self.models.n_models))
        return Output(
            {
                "train_accuracy": float(np.concatenate(right)[members].mean()),
                "test_accuracy": float(on_test.mean()),
            },
            {"outputs": outputs, "test_correct": np.packbits(on_test, axis=1)},
        )

    def _query(self, inputs: Inputs, points: NDArray[np.float32], name: str) -> Iterator[Tensor]:
        return self.models.blocks(inputs, torch.from_numpy(points), name=name)


def _right(released: Tensor, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Returns which predictions `(m, k)` are right."""
    found: NDArray[np.bool_] = (released.argmax(-1) == torch.from_numpy(labels)).numpy()
    return found
