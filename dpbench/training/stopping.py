"""Early stopping: which epoch's weights each model releases, decided while it trains."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from dpbench.training.recipe import Recipe
from dpbench.training.resumable import State
from dpbench.training.task import Predict, TrainingData

_LEAST_FALL = {"reference": 0.0, "members": 0.005}
"""By how much a loss must fall. The members' falls as long as a model is trained; it has converged
by the rule of the label-only paper's code (Choquette-Choo et al. 2021)."""


class Stopping:
    """Watches K models after every epoch.

    With patience, a model's epoch of the lowest loss is released, once it has waited that many
    epochs for a lower one; where the members are watched, for one that is lower by 0.005. With an
    accuracy to match, the first epoch that reaches it on the reference set is, or the last one.

    Args:
        recipe: Says what is watched.
        data: The pool, and the reference set.
        members: `(K, n)` bool; looked at only where the recipe monitors the members.
    """

    def __init__(self, recipe: Recipe, data: TrainingData, members: Tensor) -> None:
        self._recipe, self._data, self._members = recipe, data, members
        self._lowest = torch.full((len(members),), torch.inf)
        self._waited = torch.zeros(len(members), dtype=torch.long)
        self._stopped = torch.zeros(len(members), dtype=torch.bool)

    @staticmethod
    def asked_for(recipe: Recipe) -> bool:
        """Tells whether a recipe stops early by what it sees."""
        return recipe.patience is not None or recipe.stop_accuracy is not None

    def improved(self, predict: Predict) -> Tensor:
        """Takes note of an epoch; returns for which models `(K,)` to remember its weights.

        A stopped model never counts as improved again.
        """
        if self._recipe.stop_accuracy is not None:
            return self._until_accurate(predict, self._recipe.stop_accuracy)
        losses = self._losses(predict)
        fall = _LEAST_FALL[self._recipe.monitor]
        better = (losses < self._lowest - fall) & ~self._stopped
        self._lowest = torch.where(better, losses, self._lowest)
        self._waited = torch.where(better, 0, self._waited + 1)
        assert self._recipe.patience is not None
        # Models are trained side by side: one that has stopped trains on, and is not looked at
        # again.
        self._stopped |= self._waited >= self._recipe.patience
        return better

    def state(self) -> State:
        """Returns what is known of the models."""
        return {"lowest": self._lowest, "waited": self._waited, "stopped": self._stopped}

    def restore(self, state: State) -> None:
        """Goes on from there."""
        self._lowest, self._waited, self._stopped = (
            state[name] for name in ("lowest", "waited", "stopped")
        )

    @property
    def exhausted(self) -> bool:
        """Whether every model has stopped."""
        return bool(self._stopped.all())

    def _until_accurate(self, predict: Predict, least: float) -> Tensor:
        right = predict(self._data.reference_inputs).argmax(-1).cpu()
        accuracy = (right == self._data.reference_targets.cpu()).double().mean(1)
        # Noted before the new stops, so that the epoch that reaches the accuracy is itself
        # released.
        open_ = ~self._stopped
        self._stopped |= accuracy >= least
        return open_

    def _losses(self, predict: Predict) -> Tensor:
        """Returns the monitored mean losses `(K,)`, on the CPU."""
        if self._recipe.monitor == "reference":
            losses = _cross_entropy(
                predict(self._data.reference_inputs), self._data.reference_targets
            )
            return losses.mean(1)
        members = self._members.cpu().float()
        losses = _cross_entropy(predict(self._data.inputs), self._data.targets)
        return (losses * members).sum(1) / members.sum(1)


class BestEpochs:
    """Each model's weights of the epoch that `Stopping` chose.

    Args:
        stopping: Chooses.
        parameters: The flat parameters of K models, which steps change.
        views: Splits flat parameters into named views `(K, ...)`.
        predict: The models as they are.

    Attributes:
        flat: The weights to be released.
    """

    def __init__(
        self,
        stopping: Stopping,
        parameters: Tensor,
        *,
        views: Callable[[Tensor], dict[str, Tensor]],
        predict: Predict,
    ) -> None:
        self._stopping, self._predict = stopping, predict
        self.flat = parameters.clone()
        self._now, self._best = views(parameters), views(self.flat)

    def after_epoch(self) -> bool:
        """Remembers improved models; True when all have stopped."""
        better = self._stopping.improved(self._predict).to(self.flat.device)
        for name, value in self._now.items():
            self._best[name][better] = value[better]
        return self._stopping.exhausted

    def state(self) -> State:
        """Returns the weights, and what is known of the models."""
        return {"flat": self.flat, **self._stopping.state()}

    def restore(self, state: State) -> None:
        """Goes on from there."""
        self.flat.copy_(state["flat"])
        self._stopping.restore(state)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Returns the losses `(K, N)` of logits `(K, N, C)`, on the CPU."""
    logits, targets = logits.cpu(), targets.cpu()
    if targets.is_floating_point():
        return -(targets * logits.log_softmax(-1)).sum(-1)
    labels = targets.expand(logits.shape[:2])
    flat = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view(labels.shape)
