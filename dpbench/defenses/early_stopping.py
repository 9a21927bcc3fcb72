"""Early stopping: release the model before it has memorised its members."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
from dpbench.errors import UserError
from dpbench.training.recipe import Positive, Recipe


@register
@dataclass(frozen=True, kw_only=True)
class EarlyStopping(Defense):
    """Stops after fixed epochs, when a loss stops falling, or at an accuracy to match.

    Fixed epochs are checkpoints of the undefended training: its learning rates are not re-tuned,
    and a sweep of epochs costs one training.

    Attributes:
        epochs: Release the weights after this many epochs.
        patience: Release the best epoch by the monitored loss, after this many without a better.
        monitor: That of the public reference set, or of the model's own members. The latter is
            stopping at convergence, after 20 epochs without a fall by 0.005 in the code of
            Choquette-Choo et al. (2021): no defense, and it drops any claim of privacy.
        accuracy: Release the first epoch with this accuracy on the reference set: early stopping at
            the utility of another defense (Song & Mittal 2021).
    """

    name: ClassVar[str] = "early_stopping"
    reference: ClassVar[str] = (
        "Song & Mittal 2021, Systematic Evaluation of Privacy Risks, section 4"
    )
    search: ClassVar = {"epochs": Search(0.5, 20.0)}

    epochs: Positive | None = None
    patience: Annotated[int, Field(ge=1)] | None = None
    monitor: Literal["reference", "members"] = "reference"
    accuracy: Annotated[float, Field(gt=0, le=1)] | None = None

    @property
    def keeps_claim(self) -> bool:
        """What is monitored on members is not in the accounting."""
        return self.monitor == "reference"

    @property
    def replaces(self) -> frozenset[str]:
        """When to stop."""
        return frozenset({"stop_epoch", "patience", "monitor", "stop_accuracy"})

    def adapt(self, recipe: Recipe) -> Recipe:
        """Sets when to stop.

        Raises:
            UserError: Not exactly one field is given, or epochs exceed the recipe's.
        """
        given = [value for value in (self.epochs, self.patience, self.accuracy) if value]
        if len(given) != 1:
            raise UserError(
                f"early_stopping: epochs={self.epochs}, patience={self.patience}, "
                f"accuracy={self.accuracy}",
                allowed="exactly one of epochs, patience and accuracy",
                next_step="write early_stopping: {epochs: 5} or early_stopping: {patience: 3}",
            )
        if self.epochs is not None and self.epochs > recipe.epochs:
            raise UserError(
                f"early_stopping.epochs: {self.epochs:g} is later than the end of training",
                allowed=f"at most recipe.epochs = {recipe.epochs:g}",
            )
        return replace(
            recipe,
            stop_epoch=self.epochs,
            patience=self.patience,
            monitor=self.monitor,
            stop_accuracy=self.accuracy,
        )
