"""What a comparison runs: the cells of a finished run, and the new defense on the same bits."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dpbench.defenses import Composition
from dpbench.errors import UserError
from dpbench.study.document import parse_text
from dpbench.study.plugins import load_plugins
from dpbench.study.spec import Grid, expand_cells


class PlannedComparison(NamedTuple):
    """A comparison.

    Attributes:
        grid: The run's grid, with the compared cells added where it lacks them.
        compared: The cells of the new defense.
    """

    grid: Grid
    compared: tuple[Composition, ...]


def plan_comparison(
    grid: Grid, defenses: Sequence[str], plugins: Sequence[Path] = ()
) -> PlannedComparison:
    """Returns the grid of a comparison.

    Population, bits, seeds, recipe and attacks are the run's, so that differences are paired.

    Args:
        grid: The finished run's grid.
        defenses: What is compared, each as a grid writes it (`name`, `name: {field: [values]}`,
            `[name, other: {...}]`), or as the run names it: a cell, or all cells of a defense.
        plugins: Files that register it.

    Raises:
        UserError: A defense or field is unknown, or nothing would be left to compare with.
    """
    files = [str(plugin.resolve()) for plugin in plugins]
    load_plugins(files)
    compared: dict[str, Composition] = {}
    for text in defenses:
        compared |= {cell.label: cell for cell in _asked(grid, text)}
    if all(cell.label in compared for cell in grid.cells):
        raise UserError(
            "--defense: these are all cells of the run",
            next_step="leave some out, so that there is something to compare with",
        )
    known = {cell.label for cell in grid.cells}
    added = [cell for cell in compared.values() if cell.label not in known]
    return PlannedComparison(
        dataclasses.replace(
            grid,
            cells=(*grid.cells, *added),
            plugins=tuple(dict.fromkeys((*grid.plugins, *files))),
        ),
        tuple(compared.values()),
    )


def _asked(grid: Grid, text: str) -> list[Composition]:
    found = [cell for cell in grid.cells if text in (cell.label, cell.name)]
    if found:
        return found
    entry = parse_text(text, where="--defense")
    return list(expand_cells([entry], where="--defense"))


def folder_name(compared: Sequence[Composition]) -> str:
    """Returns the name of a comparison's folder: the defenses that it is about."""
    return "-".join(dict.fromkeys(cell.name for cell in compared))
