"""Fitting release stages that must first learn about the trained models."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from dpbench.defenses import Composition, Serving
from dpbench.defenses.base import State, overrides, released
from dpbench.game.cost import REFERENCE_FLOPS
from dpbench.game.released_models import ReleasedModels
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job, Output, unkeyed
from dpbench.seeds import seed_for


@dataclass(frozen=True, kw_only=True, eq=False)
class FitReleaseJob(Job):
    """Lets every mask of a cell learn about the M models, each behind the masks before it.

    The result holds each mask's state as arrays `number/name`, `(M, ...)`.

    Attributes:
        models: The trained models, unmasked.
        masks: The masks.
        cell: The defense that asked first, for the label.
    """

    kind: ClassVar[str] = "fit_release"
    version: ClassVar[int] = 1
    rank: ClassVar[int] = 1

    models: ReleasedModels
    masks: Composition
    cell: str = unkeyed()

    @property
    def label(self) -> str:
        """What it does."""
        return f"fit the release of {self.masks.label} on {self.cell}"

    @cached_property
    def seconds(self) -> float:
        """Forward passes of the undefended network over pool and reference set."""
        population = self.models.game.population
        asked = (len(population.pool_x) + len(population.reference_x)) * self.models.n_models
        return 2 * self.models.parameters * asked / REFERENCE_FLOPS

    def run(self, inputs: Inputs) -> Output:
        """Returns the states."""
        states: list[State] = []
        for number, mask in enumerate(self.masks.parts):
            learns = overrides(mask, "fit_release")
            serving = self._serving(inputs, number, states) if learns else None
            states.append(mask.fit_release(serving) if serving else {})
        arrays = {
            f"{number}/{name}": value.contiguous().numpy()
            for number, state in enumerate(states)
            for name, value in state.items()
        }
        return Output({}, arrays)

    def _serving(self, results: Inputs, number: int, states: list[State]) -> Serving:
        """Returns what the owner knows, seen through the masks before this one."""
        game = self.models.game
        population = game.population
        before = list(zip(self.masks.parts[:number], states, strict=True))
        # The path of the seed is part of every result: it keeps its first name.
        generator = torch.Generator().manual_seed(seed_for(game.seed, "guard", self.masks.label))

        @torch.no_grad()
        def predict(inputs: Tensor) -> Tensor:
            outputs = self.models.query(results, inputs, name="guard")
            for mask, state in before:
                outputs = released(mask, outputs, generator, state)
            return outputs

        return Serving(
            outputs=predict(torch.from_numpy(population.pool_x)),
            labels=torch.from_numpy(population.pool_y),
            members=torch.from_numpy(game.members(range(self.models.n_models))),
            reference_outputs=predict(torch.from_numpy(population.reference_x)),
            reference_labels=torch.from_numpy(population.reference_y),
            predict=predict,
            shape=population.shape,
            low=torch.as_tensor(population.low),
            high=torch.as_tensor(population.high),
            binary=torch.as_tensor(population.binary),
            generator=generator,
        )
