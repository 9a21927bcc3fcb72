"""What a training engine does: it trains many models, and queries them."""

from abc import ABC, abstractmethod

from torch import Tensor

from dpbench.models.network import Network
from dpbench.training.ensemble import Ensemble
from dpbench.training.task import Progress, Snapshots, Task


class Engine(ABC):
    """One way to train and query networks; `fit.engine_for` chooses it."""

    @abstractmethod
    def fit(self, task: Task, progress: Progress = lambda fraction: None) -> Snapshots:
        """Trains the K models of a task.

        Returns:
            Checkpoint step to stacked weights, on the CPU.

        Raises:
            Diverged: A weight is not finite.
            UserError: A model has no members, or the network cannot be trained.
        """

    @abstractmethod
    def logits(self, models: Ensemble, inputs: Tensor) -> Tensor:
        """Returns the logits `(K, N, C)` of models on inputs `(N, *shape)`, on the CPU."""

    @abstractmethod
    def models_per_job(self, network: Network, batch: float) -> int:
        """Returns how many models one job trains, from the network and the expected batch."""
