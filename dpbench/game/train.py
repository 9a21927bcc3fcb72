"""Training one block of a cell's models."""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import ClassVar

import torch

from dpbench.defenses import Composition
from dpbench.game.cost import REFERENCE_FLOPS
from dpbench.game.membership_game import MembershipGame
from dpbench.game.network import network_of
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job, Output, unkeyed
from dpbench.models.base import Architecture
from dpbench.models.network import Network
from dpbench.training.partial import Partial
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism, Task, TrainingData


@dataclass(frozen=True, kw_only=True, eq=False)
class TrainJob(Job):
    """Trains some of the M models and keeps their weights at every checkpoint.

    The result holds one array per checkpoint step and parameter, named `step/parameter`.

    Attributes:
        game: The data and the seed.
        architecture: The grid's network, before a defense changes it.
        defense: The parts of the defense that act in training other than by recipe and mechanism,
            so that cells that differ in nothing else share their trainings.
        recipe: What the whole defense makes of the grid's recipe, without a stop epoch.
        mechanism: Clipping and noise, without a claim; None for plain SGD.
        models: Numbers of the models.
        checkpoints: Steps after which weights are kept.
        cell: The defense that asked first, for the label.
        cost: Work relative to one plain training.
    """

    kind: ClassVar[str] = "train"
    version: ClassVar[int] = 1
    rank: ClassVar[int] = 0

    game: MembershipGame
    architecture: Architecture
    defense: Composition
    recipe: Recipe
    mechanism: Mechanism | None
    models: tuple[int, ...]
    checkpoints: tuple[int, ...]
    cell: str = unkeyed()
    cost: float = unkeyed(default=1.0)

    @property
    def label(self) -> str:
        """What it does."""
        return f"train {self.cell} models {self.models[0]}-{self.models[-1]}"

    @cached_property
    def seconds(self) -> float:
        """Forward and backward passes over all examples of all models."""
        examples = self.sampling.batch * self.checkpoints[-1] * len(self.models)
        return 6 * self.network.parameters * self.cost * examples / REFERENCE_FLOPS

    @property
    def network(self) -> Network:
        """What is trained."""
        return network_of(self.architecture, self.game.population, self.defense)

    @property
    def sampling(self) -> Sampling:
        """Batches and steps, which depend on the expected number of members alone."""
        return self.recipe.sampling(self.game.population.expected_members)

    def run(self, inputs: Inputs) -> Output:
        """Trains; raises Diverged when a weight is not finite."""
        defense, network = self.defense, self.network
        task = Task(
            architecture=network.architecture,
            shape=network.shape,
            n_classes=network.n_classes,
            recipe=self.recipe,
            sampling=self.sampling,
            mechanism=self.mechanism,
            loss=defense.loss(),
            objective=defense.objective(),
            augment=defense.augment(),
            regularise=defense.regularise(),
            data=defense.prepare(_represented(self.game, defense.representation)),
            members=torch.from_numpy(self.game.members(self.models)),
            seed=self.game.seed,
            models=self.models,
            checkpoints=self.checkpoints,
            device=inputs.device,
            partial=Partial(inputs.partial),
        )
        arrays = {
            f"{step}/{name}": value.numpy()
            for step, weights in defense.train(task).items()
            for name, value in weights.items()
        }
        return Output({"models": list(self.models), "checkpoints": list(self.checkpoints)}, arrays)


# Scattering coefficients of 10,000 images of 28 x 28 pixels take half a minute, and a cell of 64
# models has four blocks.
@lru_cache(maxsize=1)
def _represented(game: MembershipGame, representation: Composition) -> TrainingData:
    """Returns what the network is given."""
    data = game.training_data
    if not representation.parts:
        return data
    return data._replace(
        inputs=representation.represent(data.inputs),
        reference_inputs=representation.represent(data.reference_inputs),
    )
