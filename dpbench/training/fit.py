"""Choosing the engine: the only place that does."""

from torch import Tensor

from dpbench.errors import UserError
from dpbench.models.network import Network
from dpbench.training.autograd import AutogradEngine
from dpbench.training.dense import DenseEngine
from dpbench.training.engine import Engine
from dpbench.training.ensemble import Ensemble
from dpbench.training.recipe import Recipe
from dpbench.training.task import Progress, Snapshots, Task, Weights

DENSE, AUTOGRAD = DenseEngine(), AutogradEngine()


def engine_for(network: Network, recipe: Recipe) -> Engine:
    """Returns the engine that trains a network with a recipe.

    Raises:
        UserError: The recipe insists on the dense engine for a network it cannot train.
    """
    fits = network.dense_layers is not None
    if recipe.engine == "dense" and not fits:
        raise UserError(
            f"recipe.engine: dense cannot train the model '{network.architecture.name}'",
            allowed="auto or autograd for this model",
        )
    return DENSE if fits and recipe.engine != "autograd" else AUTOGRAD


def fit(task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
    """Trains the models of a task and returns their weights at every checkpoint."""
    return engine_for(task.network, task.recipe).fit(task, progress)


def logits(models: Ensemble, inputs: Tensor) -> Tensor:
    """Returns the logits `(K, N, C)` of models on inputs `(N, *shape)`, on the CPU."""
    engine = DENSE if models.network.dense_layers is not None else AUTOGRAD
    return engine.logits(models, inputs)


def predict(task: Task, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the logits `(K, N, C)` of models that a task trained, on the CPU."""
    return logits(Ensemble(task.network, weights, task.device), inputs)
