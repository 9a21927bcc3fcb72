"""Which weights a training releases: checkpoints, averages of the last steps, best epochs."""

import torch
from torch import Tensor


class Averager:
    """Keeps, for every checkpoint, the uniform average of the parameters of its last steps.

    Args:
        checkpoints: Steps after which weights are released.
        fraction: Fraction of the steps before a checkpoint that enter its average; the last step
            always does, so 0 keeps the last weights.
    """

    def __init__(self, checkpoints: tuple[int, ...], fraction: float) -> None:
        self._windows = {step: max(1, round(fraction * step)) for step in checkpoints}
        self._sums: dict[int, Tensor] = {}

    def after(self, step: int, parameters: Tensor) -> Tensor | None:
        """Takes note of the parameters after `step`; returns what is released there, if any."""
        released = None
        for checkpoint, window in self._windows.items():
            if not checkpoint - window < step <= checkpoint:
                continue
            if checkpoint in self._sums:
                self._sums[checkpoint].add_(parameters)
            else:
                self._sums[checkpoint] = parameters.clone()
            if step == checkpoint:
                released = self._sums.pop(checkpoint).div_(window)
        return released


class Patience:
    """Remembers each model's best epoch and tells when every model has stopped improving.

    Args:
        patience: Epochs without a lower loss after which a model is stopped.
        models: K.
    """

    def __init__(self, patience: int, models: int) -> None:
        self._patience = patience
        self._lowest = torch.full((models,), torch.inf)
        self._waited = torch.zeros(models, dtype=torch.long)

    def improved(self, losses: Tensor) -> Tensor:
        """Takes note of an epoch's `(K,)` reference losses; returns which models to remember now.

        A stopped model never counts as improved again.
        """
        better = (losses.cpu() < self._lowest) & (self._waited < self._patience)
        self._lowest = torch.where(better, losses.cpu(), self._lowest)
        self._waited = torch.where(better, 0, self._waited + 1)
        return better

    @property
    def exhausted(self) -> bool:
        """Whether every model has waited `patience` epochs."""
        return bool((self._waited >= self._patience).all())
