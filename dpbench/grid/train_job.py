"""Training one block of a cell's models."""

from dataclasses import dataclass

import torch

from dpbench.defenses import Composition
from dpbench.defenses.base import overrides
from dpbench.grid.job import Context, Job, Output
from dpbench.grid.keys import key_of
from dpbench.grid.network import network_of
from dpbench.training.partial import Partial
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism, Task, TrainingData


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
        grid, defense = context.grid, self.defense
        network = network_of(grid.model, context.population, defense)
        clips = self.mechanism is not None and self.mechanism.clips
        task = Task(
            architecture=network.architecture,
            shape=network.shape,
            n_classes=network.n_classes,
            recipe=self.recipe,
            sampling=self.sampling,
            mechanism=self.mechanism if clips else None,
            loss=defense.loss(),
            objective=defense.objective(),
            augment=defense.augment(),
            regularise=defense.regularise(),
            data=defense.prepare(_represented(context, defense)),
            members=torch.from_numpy(context.members[list(self.models)]),
            seed=grid.seed,
            models=self.models,
            checkpoints=self.checkpoints,
            device=context.device,
            partial=Partial(context.store.partial(self.key)),
        )
        arrays = {
            f"{step}/{name}": value.numpy()
            for step, weights in defense.train(task).items()
            for name, value in weights.items()
        }
        return Output({"models": list(self.models), "checkpoints": list(self.checkpoints)}, arrays)


def _represented(context: Context, defense: Composition) -> TrainingData:
    """Returns what the network is given; the features of the last cell stay in memory.

    Scattering coefficients of 10,000 images of 28 x 28 pixels take half a minute, and a cell of 64
    models has four blocks.
    """
    data = context.training_data
    if not defense.represents:
        return data
    cache = context.cache.setdefault("represented", {})
    key = key_of([part.identity() for part in defense.parts if overrides(part, "represent")])
    if key not in cache:
        cache.clear()
        cache[key] = data._replace(
            inputs=defense.represent(data.inputs),
            reference_inputs=defense.represent(data.reference_inputs),
        )
    features: TrainingData = cache[key]
    return features
