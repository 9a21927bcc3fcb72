"""A recipe of its own: what differs from the grid's, for one cell."""

from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from dpbench.component import register
from dpbench.defenses.base import Defense
from dpbench.errors import UserError
from dpbench.training.recipe import Positive, Recipe


@register
@dataclass(frozen=True, kw_only=True)
class OwnRecipe(Defense):
    """Trains one cell by another recipe than the grid's: no defense, but how one was tuned.

    `dpbench tune` writes it beside every defense whose recipe it has searched, and a grid uses it
    to show what longer training costs: `recipe: {epochs: 40}` where the grid's recipe has 12.

    Attributes:
        epochs: Length of the schedule.
        batch_size: Examples per step.
        lr: Peak learning rate.
        momentum: Heavy-ball momentum.
        schedule: `constant`, `linear` or `cosine`.
        averaging: Fraction of the last steps whose weights are averaged.
        optimizer: `sgd` or `adam`.
    """

    name: ClassVar[str] = "recipe"
    reference: ClassVar[str] = "baseline"

    epochs: Positive | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    lr: Positive | None = None
    momentum: Annotated[float, Field(ge=0, lt=1)] | None = None
    schedule: Literal["constant", "linear", "cosine"] | None = None
    averaging: Annotated[float, Field(ge=0, lt=1)] | None = None
    optimizer: Literal["sgd", "adam"] | None = None

    @property
    def replaces(self) -> frozenset[str]:
        """The given fields."""
        return frozenset(self._given())

    def adapt(self, recipe: Recipe) -> Recipe:
        """Replaces the given fields of the recipe.

        Raises:
            UserError: No field is given.
        """
        given = self._given()
        if not given:
            raise UserError(
                "recipe: no field is given, so it changes nothing",
                allowed=", ".join(self.to_json()),
                next_step="write recipe: {epochs: 40}, say, or none",
            )
        if self.batch_size is not None:
            # A rate would override the batch.
            recipe = replace(recipe, sampling_rate=None)
        return replace(recipe, **given)

    def _given(self) -> dict[str, Any]:
        return {name: value for name, value in self.to_json().items() if value is not None}
