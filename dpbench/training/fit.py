"""Choosing the engine: dense for stacks of fully connected layers, autograd for everything else."""

from types import ModuleType

from torch import Tensor

from dpbench.errors import UserError
from dpbench.models.base import Architecture
from dpbench.models.dense_layer import DenseArchitecture
from dpbench.training import autograd, dense
from dpbench.training.recipe import Recipe
from dpbench.training.task import Progress, Snapshots, Task, Weights

# Models per job: few enough to share among workers and lose little, enough to train side by side.
_BLOCK = 16


def engine_for(architecture: Architecture, recipe: Recipe) -> ModuleType:
    """Returns the engine's module.

    Raises:
        UserError: The recipe insists on the dense engine for a network it cannot train.
    """
    fits = isinstance(architecture, DenseArchitecture)
    if recipe.engine == "dense" and not fits:
        raise UserError(
            f"recipe.engine: dense cannot train the model '{architecture.name}'",
            allowed="auto or autograd for this model",
        )
    return dense if fits and recipe.engine != "autograd" else autograd


def block_size(
    architecture: Architecture,
    recipe: Recipe,
    shape: tuple[int, ...],
    n_classes: int,
    *,
    batch: float,
) -> int:
    """Returns how many models one training job holds, from the network and the recipe."""
    if engine_for(architecture, recipe) is autograd:
        return 1
    assert isinstance(architecture, DenseArchitecture)
    return max(_BLOCK, dense.models_at_once(architecture, shape, n_classes, batch))


def fit(task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
    """Trains the models of a task and returns their weights at every checkpoint."""
    snapshots: Snapshots = engine_for(task.architecture, task.recipe).fit(task, progress)
    return snapshots


def logits(
    architecture: Architecture,
    weights: Weights,
    inputs: Tensor,
    *,
    shape: tuple[int, ...],
    n_classes: int,
    device: str = "cpu",
) -> Tensor:
    """Returns the logits `(K, N, C)` of stacked models on inputs `(N, *shape)`, on the CPU."""
    engine = dense if isinstance(architecture, DenseArchitecture) else autograd
    values: Tensor = engine.logits(
        architecture, weights, inputs, shape=shape, n_classes=n_classes, device=device
    )
    return values


def predict(task: Task, weights: Weights, inputs: Tensor) -> Tensor:
    """Returns the logits `(K, N, C)` of models that a task trained, on the CPU."""
    return logits(
        task.architecture,
        weights,
        inputs,
        shape=task.shape,
        n_classes=task.n_classes,
        device=task.device,
    )
