"""The trials: points of every defense's search space, as cells of one grid."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from scipy.stats import qmc

from dpbench.defenses import Composition, Defense
from dpbench.errors import UserError
from dpbench.grid.spec import Grid, expand_attacks
from dpbench.seeds import rng_for

ATTACKS = ("gap", "malt", "lira")
"""What every trial is attacked with: cheap, and near the strongest on most cells."""


@dataclass(frozen=True, kw_only=True)
class Trials:
    """A tuning run.

    Attributes:
        grid: Its cells are the trials, the undefended one first.
        families: For every family, by the names of its parts, its trials' labels.
    """

    grid: Grid
    families: dict[str, tuple[str, ...]]


def plan_trials(grid: Grid, *, trials: int, models: int) -> Trials:
    """Returns the trials of every defense that a grid names.

    Cells with the same parts are one family, whatever their strengths; each family gets the same
    number of points of its search space, quasi-random (Halton), or one trial where nothing can be
    searched. A choice from a few values may come up more than once, and is run once.

    Args:
        grid: The grid to tune.
        trials: Points for each family.
        models: Models for each trial.

    Raises:
        UserError: There is no reference set to tune on, or no undefended cell to compare with.
    """
    undefended = [cell for cell in grid.cells if cell.name == "none"]
    if not undefended:
        raise UserError(
            "defenses: there is nothing to compare accuracies with",
            next_step="add `- none` to the grid's defenses",
        )
    cells: dict[str, Composition] = {undefended[0].label: undefended[0]}
    families: dict[str, tuple[str, ...]] = {}
    for cell in grid.cells:
        if cell.name in families or cell.name == "none":
            continue
        points = dict.fromkeys(_points(cell, trials, grid.seed))
        families[cell.name] = tuple(point.label for point in points)
        cells |= {point.label: point for point in points}
    return Trials(
        grid=dataclasses.replace(
            grid,
            name=f"{grid.name}-tuning",
            population=dataclasses.replace(grid.population, part="tuning", canaries=None),
            canaries=None,
            models=models,
            cells=tuple(cells.values()),
            attacks=expand_attacks(ATTACKS, where="tune"),
        ),
        families=families,
    )


def _points(cell: Composition, trials: int, seed: int) -> Iterator[Composition]:
    """Yields the trials of a family, given one of its cells."""
    axes = [(number, field) for number, part in enumerate(cell.parts) for field in part.search]
    if not axes:
        yield cell
        return
    draws = qmc.Halton(len(axes), rng=rng_for(seed, "tune", cell.name)).random(trials)
    for draw in draws:
        chosen: list[dict[str, object]] = [{} for _ in cell.parts]
        for (number, field), share in zip(axes, draw, strict=True):
            chosen[number][field] = cell.parts[number].search[field].at(float(share))
        parts = [
            _with_defaults(part, fields) for part, fields in zip(cell.parts, chosen, strict=True)
        ]
        yield Composition(tuple(parts))


def _with_defaults(part: Defense, fields: dict[str, object]) -> Defense:
    """Returns a defense with searched fields; the others take their defaults where they have one.

    A part without a search space stays as the grid has it.
    """
    if not fields:
        return part
    required = {
        field.name: getattr(part, field.name)
        for field in dataclasses.fields(part)
        if field.default is dataclasses.MISSING and field.name not in fields
    }
    return type(part).parse({**required, **fields}, where=f"tune.{part.name}")
