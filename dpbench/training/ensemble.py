"""K trained models as one value."""

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from dpbench.models.build import built
from dpbench.models.network import Network
from dpbench.training.task import Weights


@dataclass(frozen=True, eq=False)
class Ensemble:
    """K trained models.

    Attributes:
        network: What each of them is.
        weights: Their weights, stacked, on the CPU.
        device: Torch device on which they are queried.
    """

    network: Network
    weights: Weights
    device: str = "cpu"

    def __len__(self) -> int:
        """Returns K."""
        return len(next(iter(self.weights.values())))

    def chunks(self, size: int) -> Iterator[tuple[slice, Weights]]:
        """Yields the numbers of a few models at a time, and their weights on the device."""
        for first in range(0, len(self), size):
            some = slice(first, first + size)
            yield some, {name: value[some].to(self.device) for name, value in self.weights.items()}

    def module(self) -> nn.Module:
        """Returns a module for the models to be loaded into, in evaluation mode on the device."""
        module = built(self.network.architecture, self.network.shape, self.network.n_classes)
        return module.to(self.device).eval()

    def loaded(self, module: nn.Module) -> Iterator[int]:
        """Yields each model's number once a module has its weights."""
        for model in range(len(self)):
            state: dict[str, Tensor] = {name: value[model] for name, value in self.weights.items()}
            # One module for all models: building it anew would cost more than a small network's
            # queries.
            module.load_state_dict(state)
            yield model
