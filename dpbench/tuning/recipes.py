"""The recipes that `dpbench tune` tries: the same for every defense."""

from collections.abc import Mapping

from scipy.stats import qmc

from dpbench.defenses import Composition, OwnRecipe, Undefended
from dpbench.defenses.search import Choice, Search
from dpbench.seeds import rng_for
from dpbench.training.recipe import Recipe


def recipe_space(recipe: Recipe) -> Mapping[str, Search | Choice]:
    """Returns where recipes are searched: around the grid's own, wherever that lies."""
    # One epoch is the least that shows every member once.
    shortest = min(recipe.epochs, max(1.0, recipe.epochs / 10))
    fields: dict[str, Search | Choice] = {
        "epochs": Search(shortest, 1.5 * recipe.epochs),
        "lr": Search(recipe.lr / 5, 5 * recipe.lr),
    }
    if recipe.sampling_rate is not None:
        return fields
    batches = {max(1, recipe.batch_size // 2), recipe.batch_size, 2 * recipe.batch_size}
    return {**fields, "batch_size": Choice(tuple(sorted(batches)))}


def draw_recipes(recipe: Recipe, *, trials: int, seed: int) -> tuple[OwnRecipe, ...]:
    """Returns one recipe for each trial; the first is the grid's.

    All defenses meet the same recipes: what one gains over another is not the luck of its draw, and
    masks reuse the models that they mask.
    """
    space = recipe_space(recipe)
    draws = qmc.Halton(len(space), rng=rng_for(seed, "tune", "recipe")).random(trials - 1)
    drawn = []
    for draw in draws:
        values = zip(space.items(), draw, strict=True)
        fields = {name: field.at(float(share)) for (name, field), share in values}
        drawn.append(OwnRecipe.parse(fields, where="tune.recipe"))
    return (as_own(recipe), *drawn)


def as_own(recipe: Recipe) -> OwnRecipe:
    """Returns the fields that are searched, as a cell may have them.

    Where a sampling rate decides the batch, a batch of its own would undo it.
    """
    batch = recipe.batch_size if recipe.sampling_rate is None else None
    return OwnRecipe(epochs=recipe.epochs, lr=recipe.lr, batch_size=batch)


def with_recipe(own: OwnRecipe, cell: Composition, grid: Recipe) -> Composition:
    """Returns a cell that trains by a recipe, which it names only as far as the grid's differs.

    Fields that the cell sets itself, as DP-SGD sets all of them, stay the cell's.
    """
    set_by_cell = frozenset[str]().union(*(part.replaces for part in cell.parts))
    changed = {
        name: value
        for name, value in own.to_json().items()
        if value is not None and name not in set_by_cell and value != getattr(grid, name)
    }
    if not changed:
        return cell
    rest = tuple(part for part in cell.parts if not isinstance(part, Undefended))
    return Composition((OwnRecipe.parse(changed, where="tune.recipe"), *rest))


def without_recipe(cell: Composition) -> Composition:
    """Returns a cell as it would train by the grid's recipe; nothing left is no defense."""
    parts = tuple(part for part in cell.parts if not isinstance(part, OwnRecipe))
    return Composition(parts or (Undefended(),))
