"""Early stopping: release the model before it has memorised its members."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.errors import UserError
from dpbench.training.recipe import Positive, Recipe


@register
@dataclass(frozen=True, kw_only=True)
class EarlyStopping(Defense):
    """Stops after fixed epochs, or when the loss on public reference data stops falling.

    Fixed epochs are checkpoints of the undefended training: its learning rates are not re-tuned,
    and a sweep of epochs costs one training.

    Attributes:
        epochs: Release the weights after this many epochs.
        patience: Release the best epoch by reference loss, after this many epochs without a better.
    """

    name: ClassVar[str] = "early_stopping"
    reference: ClassVar[str] = (
        "Song & Mittal 2021, Systematic Evaluation of Privacy Risks, section 4"
    )

    epochs: Positive | None = None
    patience: Annotated[int, Field(ge=1)] | None = None

    def adapt(self, recipe: Recipe) -> Recipe:
        """Sets when to stop.

        Raises:
            UserError: Not exactly one field is given, or epochs exceed the recipe's.
        """
        if (self.epochs is None) == (self.patience is None):
            raise UserError(
                f"early_stopping: epochs={self.epochs}, patience={self.patience}",
                allowed="exactly one of epochs and patience",
                next_step="write early_stopping: {epochs: 5} or early_stopping: {patience: 3}",
            )
        if self.epochs is not None and self.epochs > recipe.epochs:
            raise UserError(
                f"early_stopping.epochs: {self.epochs:g} is later than the end of training",
                allowed=f"at most recipe.epochs = {recipe.epochs:g}",
            )
        return replace(recipe, stop_epoch=self.epochs, patience=self.patience)
