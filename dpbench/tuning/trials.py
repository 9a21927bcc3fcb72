"""The trials: points of every defense's search space and recipes, as cells of one grid."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from scipy.stats import qmc

from dpbench.defenses import Composition, Defense, OwnRecipe
from dpbench.defenses.search import Choice, Search
from dpbench.errors import UserError
from dpbench.seeds import rng_for
from dpbench.study.spec import Grid, expand_attacks
from dpbench.tuning.recipes import draw_recipes, with_recipe, without_recipe

ATTACKS = ("gap", "malt", "lira")
"""What every trial is attacked with: cheap, and near the strongest on most cells."""

UNDEFENDED = "none"
_MOST_DRAWS = 50
"""Points drawn for one trial before a search space is taken to hold no valid one."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """What is tuned together.

    Attributes:
        name: Names of its parts, with what they promise.
        labels: Its trials, by the labels of their cells.
        promises: It is tuned for accuracy: what it may leak is promised, and not searched.
    """

    name: str
    labels: tuple[str, ...]
    promises: bool


@dataclass(frozen=True, kw_only=True)
class TuningTrials:
    """A tuning run.

    Attributes:
        grid: Its cells are the trials, the undefended one by the grid's own recipe first.
        families: The undefended one first.
    """

    grid: Grid
    families: tuple[Family, ...]


def plan_trials(grid: Grid, *, trials: int, models: int) -> TuningTrials:
    """Returns the trials of every defense that a grid names.

    Cells with the same parts are one family, whatever their strengths; those that promise different
    things are tuned one by one. Each family, the undefended models too, gets the same number of
    trials: quasi-random points (Halton) of its strengths and of the recipe, the first of them with
    the grid's own recipe. A point that a defense refuses is drawn again; one that comes up more
    than once is run once.

    Args:
        grid: The grid to tune.
        trials: TuningTrials for each family.
        models: Models for each trial.

    Raises:
        UserError: There is no reference set to tune on, or no undefended cell to compare with.
    """
    if not any(cell.name == UNDEFENDED for cell in grid.cells):
        raise UserError(
            "defenses: there is nothing to compare accuracies with",
            next_step="add `- none` to the grid's defenses",
        )
    recipes = draw_recipes(grid.recipe, trials=trials, seed=grid.seed)
    cells: dict[str, Composition] = {}
    families: dict[str, Family] = {}
    # The undefended cell comes first: static shadows and accuracies are read off there.
    for cell in sorted(map(without_recipe, grid.cells), key=lambda cell: cell.name != UNDEFENDED):
        name = _family(cell)
        if name in families:
            continue
        points = {point.label: point for point in _points(cell, recipes, grid)}
        promises = any(part.promised for part in cell.parts)
        families[name] = Family(name=name, labels=tuple(points), promises=promises)
        cells |= points
    return TuningTrials(
        grid=dataclasses.replace(
            grid,
            name=f"{grid.name}-tuning",
            population=dataclasses.replace(grid.population, part="tuning", canaries=None),
            canaries=None,
            models=models,
            cells=tuple(cells.values()),
            attacks=expand_attacks(ATTACKS, where="tune"),
        ),
        families=tuple(families.values()),
    )


def _family(cell: Composition) -> str:
    return "+".join(_promise(part) for part in cell.parts)


def _promise(part: Defense) -> str:
    shown = [
        f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in _promised(part).items()
    ]
    return f"{part.name}({', '.join(shown)})" if shown else part.name


def _promised(part: Defense) -> dict[str, object]:
    """Returns the promised fields that differ from their defaults."""
    defaults = {field.name: field.default for field in dataclasses.fields(part)}
    values = {name: getattr(part, name) for name in part.promised}
    return {name: value for name, value in values.items() if value != defaults[name]}


def _points(cell: Composition, recipes: Sequence[OwnRecipe], grid: Grid) -> Iterator[Composition]:
    """Yields the trials of a family, given one of its cells: one for each recipe.

    Raises:
        UserError: The defense refuses every point.
    """
    axes = _axes(cell)
    draws = _draws(cell, len(axes), grid.seed)
    for number, own in enumerate(recipes):
        if number == 0 and any(part.promised for part in cell.parts):
            # What is shipped is tried too.
            yield with_recipe(own, cell, grid.recipe)
            continue
        yield _valid(cell, axes, own, grid, itertools.islice(draws, _MOST_DRAWS))


def _axes(cell: Composition) -> list[tuple[int, str, Search | Choice]]:
    """Returns what is searched of a cell's strengths: number of the part, field and space."""
    return [
        (number, field, space)
        for number, part in enumerate(cell.parts)
        for field, space in part.searched.items()
        # Nothing tells copies of an example apart where nothing augments them.
        if field != "augmentations" or cell.augment() is not None
    ]


def _draws(cell: Composition, axes: int, seed: int) -> Iterator[Sequence[float]]:
    if not axes:
        yield from itertools.repeat(())
    sampler = qmc.Halton(axes, rng=rng_for(seed, "tune", cell.name))
    while True:
        yield sampler.random(1)[0].tolist()


def _valid(
    cell: Composition,
    axes: Sequence[tuple[int, str, Search | Choice]],
    own: OwnRecipe,
    grid: Grid,
    draws: Iterator[Sequence[float]],
) -> Composition:
    """Returns the first point that its defenses take, trained by a recipe.

    Stopping after 15 epochs is none where the recipe has 10.
    """
    refused: UserError | None = None
    for draw in draws:
        chosen: list[dict[str, object]] = [{} for _ in cell.parts]
        for (number, field, space), share in zip(axes, draw, strict=True):
            chosen[number][field] = space.at(share)
        parts = [
            _with_defaults(part, fields) for part, fields in zip(cell.parts, chosen, strict=True)
        ]
        point = with_recipe(own, Composition(tuple(parts)), grid.recipe)
        try:
            point.adapt(grid.recipe)
        except UserError as error:
            refused = error
            continue
        return point
    raise UserError(
        f"{cell.name}: no strength that is searched fits this grid; the last: {refused}",
        next_step="leave it out of the grid, or lengthen the recipe",
    )


def _with_defaults(part: Defense, fields: dict[str, object]) -> Defense:
    """Returns a defense with searched fields; the others take their defaults where they have one.

    What is promised, and a part without a search space, stay as the grid has them.
    """
    if not fields:
        return part
    kept = {
        field.name: getattr(part, field.name)
        for field in dataclasses.fields(part)
        if field.name not in fields
        and (field.default is dataclasses.MISSING or field.name in part.promised)
    }
    return type(part).parse({**kept, **fields}, where=f"tune.{part.name}")
