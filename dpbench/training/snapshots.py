"""Which weights a training releases: checkpoints, and averages of the last steps."""

from torch import Tensor

from dpbench.training.resumable import State


class Released:
    """Keeps, for every checkpoint, the uniform average of the parameters of its last steps.

    Args:
        checkpoints: Steps after which weights are released.
        fraction: Fraction of the steps before a checkpoint that enter its average; the last step
            always does, so 0 keeps the last weights.
        device: Where the parameters are.

    Attributes:
        kept: What is released so far, by checkpoint.
    """

    def __init__(
        self, checkpoints: tuple[int, ...], fraction: float, *, device: str = "cpu"
    ) -> None:
        self._device = device
        self._windows = {step: max(1, round(fraction * step)) for step in checkpoints}
        self._sums: dict[int, Tensor] = {}
        self.kept: dict[int, Tensor] = {}

    def after(self, step: int, parameters: Tensor) -> None:
        """Takes note of the parameters after `step`."""
        for checkpoint, window in self._windows.items():
            if not checkpoint - window < step <= checkpoint:
                continue
            # A sum for each window, not a queue of weights: the memory does not grow with the
            # window.
            if checkpoint in self._sums:
                self._sums[checkpoint].add_(parameters)
            else:
                self._sums[checkpoint] = parameters.clone()
            if step == checkpoint:
                self.kept[step] = self._sums.pop(checkpoint).div_(window)

    def stop(self, parameters: Tensor) -> None:
        """Releases these at the last checkpoint, and at those that were not reached."""
        # The last checkpoint is what early stopping chose, even if its own step was reached.
        self.kept.pop(max(self._windows), None)
        self.kept = {step: self.kept.get(step, parameters) for step in self._windows}

    def state(self) -> State:
        """Returns what is released, and the sums that are not complete."""
        kept = {f"kept/{step}": value for step, value in self.kept.items()}
        return kept | {f"sum/{step}": value for step, value in self._sums.items()}

    def restore(self, state: State) -> None:
        """Goes on from there."""
        for name, value in state.items():
            what, step = name.split("/")
            (self.kept if what == "kept" else self._sums)[int(step)] = value.to(self._device)
