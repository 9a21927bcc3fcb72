"""Trying every network of a plan before any is trained."""

import torch

from dpbench.defenses import Composition
from dpbench.game.network import network_of
from dpbench.game.students import StudentsJob
from dpbench.study.cell import Cell, Plan
from dpbench.study.context import Context
from dpbench.training.fit import AUTOGRAD, engine_for
from dpbench.training.trainable import EXAMPLES, Trial, require_trainable


def require_networks(context: Context, plan: Plan) -> None:
    """Tries the networks of all cells, each once.

    Raises:
        UserError: One cannot be trained; the message names the layer.
    """
    undefended = Composition(())
    trials = [_trial(context, cell.defense, clips=_clips(context, cell)) for cell in plan.cells]
    if any(isinstance(job, StudentsJob) for job in plan.jobs.values()):
        trials.append(_trial(context, undefended, clips=False))
    for trial in dict.fromkeys(trials):
        require_trainable(trial)


def _clips(context: Context, cell: Cell) -> bool:
    """Tells whether the cell's networks need per-example gradients of the autograd engine."""
    if cell.mechanism is None or not cell.mechanism.clips:
        return False
    network = network_of(context.grid.model, context.population, cell.defense)
    return engine_for(network, cell.recipe) is AUTOGRAD


def _trial(context: Context, defense: Composition, *, clips: bool) -> Trial:
    network = network_of(context.grid.model, context.population, defense)
    inputs = torch.from_numpy(context.population.pool_x[:EXAMPLES])
    return Trial(
        architecture=network.architecture,
        shape=network.shape,
        n_classes=network.n_classes,
        clips=clips,
        inputs=defense.represent(inputs),
    )
