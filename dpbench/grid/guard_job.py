"""Preparing release stages that must first learn about the trained models."""

from dataclasses import dataclass

import torch
from torch import Tensor

from dpbench.defenses import Composition, Serving
from dpbench.defenses.base import State, overrides, released
from dpbench.grid.job import Context, Job, Output
from dpbench.grid.observe_job import ReleasedModels
from dpbench.seeds import seed_for


@dataclass(frozen=True, kw_only=True, eq=False)
class GuardJob(Job):
    """Lets every mask of a cell learn about the M models, each behind the masks before it.

    The result holds each mask's state as arrays `number/name`, `(M, ...)`.

    Attributes:
        models: The trained models, unmasked.
        defense: The masks.
    """

    models: ReleasedModels
    defense: Composition

    @property
    def kind(self) -> str:
        """The job's kind."""
        return "guard"

    def run(self, context: Context) -> Output:
        """Returns the states."""
        states: list[State] = []
        for number, mask in enumerate(self.defense.masks):
            learns = overrides(mask, "fit_release")
            serving = self._serving(context, number, states) if learns else None
            states.append(mask.fit_release(serving) if serving else {})
        arrays = {
            f"{number}/{name}": value.contiguous().numpy()
            for number, state in enumerate(states)
            for name, value in state.items()
        }
        return Output({}, arrays)

    def _serving(self, context: Context, number: int, states: list[State]) -> Serving:
        """Returns what the owner knows, seen through the masks before this one."""
        population = context.population
        before = list(zip(self.defense.masks[:number], states, strict=True))
        seed = seed_for(context.grid.seed, "guard", self.defense.label)
        generator = torch.Generator().manual_seed(seed)

        @torch.no_grad()
        def predict(inputs: Tensor) -> Tensor:
            outputs = self.models.query(context, inputs, name="guard")
            for mask, state in before:
                outputs = released(mask, outputs, generator, state)
            return outputs

        return Serving(
            outputs=predict(torch.from_numpy(population.pool_x)),
            labels=torch.from_numpy(population.pool_y),
            members=torch.from_numpy(context.members),
            reference_outputs=predict(torch.from_numpy(population.reference_x)),
            reference_labels=torch.from_numpy(population.reference_y),
            predict=predict,
            shape=population.shape,
            low=torch.as_tensor(population.low),
            high=torch.as_tensor(population.high),
            binary=torch.as_tensor(population.binary),
            generator=generator,
        )
