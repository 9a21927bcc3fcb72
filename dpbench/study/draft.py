"""A cell before its training jobs exist: several drafts may share one training."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

from dpbench.defenses import Composition
from dpbench.game.network import network_of
from dpbench.game.train import TrainJob
from dpbench.study.context import Context
from dpbench.study.spec import AVERAGE
from dpbench.training.fit import engine_for
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism


class Draft(NamedTuple):
    """How a cell trains.

    Attributes:
        defense: The defense.
        recipe: What it makes of the grid's recipe.
        sampling: The recipe's batches and steps.
        mechanism: What it clips, adds and claims.
        first: The cell's training without models and checkpoints: equal ones are shared.
        step: The checkpoint that the cell releases.
    """

    defense: Composition
    recipe: Recipe
    sampling: Sampling
    mechanism: Mechanism | None
    first: TrainJob
    step: int

    def blocks(self, models: int) -> Iterable[tuple[int, ...]]:
        """Yields the numbers of the models that one job trains."""
        first = self.first
        network = network_of(first.architecture, first.game.population, self.defense)
        size = engine_for(network, self.recipe).models_per_job(network, self.sampling.batch)
        for start in range(0, models, size):
            yield tuple(range(start, min(start + size, models)))


def draft_of(context: Context, defense: Composition) -> Draft:
    """Returns how a cell with a defense trains.

    Raises:
        UserError: The defense cannot be trained as asked.
    """
    game, grid = context.game, context.grid
    defense.require(game.training_data)
    recipe = defense.adapt(grid.recipe)
    sampling = recipe.sampling(game.population.expected_members)
    mechanism = defense.mechanism(sampling)
    step = sampling.steps if recipe.stop_epoch is None else sampling.step_of(recipe.stop_epoch)
    suffix = "" if context.track == AVERAGE else f" ({context.track} track)"
    first = TrainJob(
        game=game,
        architecture=grid.model,
        defense=defense.in_training,
        recipe=replace(recipe, stop_epoch=None),
        mechanism=mechanism if mechanism and mechanism.clips else None,
        models=(),
        checkpoints=(),
        cell=defense.label + suffix,
        cost=defense.cost,
    )
    return Draft(defense, recipe, sampling, mechanism, first, step)
