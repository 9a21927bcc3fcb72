"""Training one block of a cell's models."""

from dataclasses import dataclass

import torch

from dpbench.defenses import Composition
from dpbench.grid.job import Context, Job, Output
from dpbench.training.fit import fit
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism, Task


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainJob(Job):
    """Trains some of the M models and keeps their weights at every checkpoint.

    The result holds one array per checkpoint step and parameter, named `step/parameter`.
    """

    defense: Composition
    recipe: Recipe
    sampling: Sampling
    mechanism: Mechanism | None
    models: tuple[int, ...]
    checkpoints: tuple[int, ...]

    @property
    def kind(self) -> str:
        """The job's kind."""
        return "train"

    def run(self, context: Context) -> Output:
        """Trains; raises Diverged when a weight is not finite."""
        population, grid = context.population, context.grid
        task = Task(
            architecture=grid.model,
            shape=population.shape,
            n_classes=population.n_classes,
            recipe=self.recipe,
            sampling=self.sampling,
            mechanism=self.mechanism,
            loss=self.defense.loss(),
            regularise=self.defense.regularise(),
            data=self.defense.prepare(context.training_data),
            members=torch.from_numpy(context.members[list(self.models)]),
            seed=grid.seed,
            models=self.models,
            checkpoints=self.checkpoints,
            device=context.device,
        )
        arrays = {
            f"{step}/{name}": value.numpy()
            for step, weights in fit(task).items()
            for name, value in weights.items()
        }
        return Output({"models": list(self.models), "checkpoints": list(self.checkpoints)}, arrays)
