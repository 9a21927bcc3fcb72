"""Short training: a whole schedule, annealed over fewer epochs."""

from dataclasses import dataclass, replace
from typing import ClassVar

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.defenses.search import Search
from dpbench.errors import UserError
from dpbench.training.recipe import Positive, Recipe


@register
@dataclass(frozen=True, kw_only=True)
class ShortTraining(Defense):
    """Trains for fewer epochs, over which the learning rate falls to its end.

    `early_stopping` releases a checkpoint of a long schedule, at a learning rate that has not
    fallen yet; this is another training, complete in itself, and usually the more accurate of the
    two after as many epochs.

    Attributes:
        epochs: Length of the whole schedule; less than the recipe's.
    """

    name: ClassVar[str] = "short_training"
    reference: ClassVar[str] = "baseline: what leaks grows with the gap of Yeom et al. 2018"
    search: ClassVar = {"epochs": Search(1.0, 20.0)}

    epochs: Positive

    @property
    def replaces(self) -> frozenset[str]:
        """The length of the schedule."""
        return frozenset({"epochs"})

    def adapt(self, recipe: Recipe) -> Recipe:
        """Shortens the recipe.

        Raises:
            UserError: It would not be shorter.
        """
        if self.epochs >= recipe.epochs:
            raise UserError(
                f"short_training.epochs: {self.epochs:g} is not shorter than the recipe",
                allowed=f"less than recipe.epochs = {recipe.epochs:g}",
                next_step=f"write recipe: {{epochs: {self.epochs:g}}} for a cell that trains as "
                "long as that or longer",
            )
        return replace(recipe, epochs=self.epochs)
