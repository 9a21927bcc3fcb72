"""Which weights a training releases: checkpoints, and averages of the last steps."""

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
