"""The grid behind a name in an expectation file: a shipped one, or a variant of one."""

import dataclasses

from dpbench.data import PopulationSpec
from dpbench.reproduction.expectation import Paper
from dpbench.study.shipped import find_grid
from dpbench.study.spec import Grid, read_grid
from dpbench.training.recipe import Recipe


def grid_of(paper: Paper, name: str) -> Grid:
    """Returns a grid that a paper lists.

    Raises:
        UserError: No such grid is shipped, or a field that a variant replaces is wrong.
    """
    variant = paper.variants.get(name)
    if variant is None:
        return read_grid(find_grid(name))
    grid = read_grid(find_grid(variant.of))
    where = f"{paper.name}: variants.{name}"
    population = {**grid.population.to_json(), **variant.population}
    return dataclasses.replace(
        grid,
        name=name,
        population=PopulationSpec.parse(population, where=f"{where}.population"),
        recipe=Recipe.parse({**grid.recipe.to_json(), **variant.recipe}, where=f"{where}.recipe"),
    )
