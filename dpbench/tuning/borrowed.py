"""Warnings where a schedule of DP-SGD meets another network or data set than it was tuned for."""

from collections.abc import Iterator

from dpbench.defenses import Composition, DpSgd
from dpbench.defenses.base import overrides
from dpbench.defenses.dp_schedules import SCHEDULES, Home
from dpbench.study.spec import Grid

# A schedule holds for about as many members; a game on twice as many is another one.
_MOST_TIMES = 1.5


def borrowed_schedules(grid: Grid, *, named: str) -> Iterator[str]:
    """Yields a warning for every shipped schedule that a grid's cells borrow.

    Fields that a cell gives itself are no concern of anyone: it is warned where the number of steps
    or the learning rate is left to a schedule that was tuned for other networks or data.

    Args:
        grid: The grid.
        named: What the user calls it, for the command that tunes.
    """
    cells: dict[tuple[str, Home], list[str]] = {}
    for cell in grid.cells:
        for part in cell.parts:
            if isinstance(part, DpSgd) and part.borrows_schedule and part.schedule in SCHEDULES:
                home = _home(grid, cell)
                if not any(_alike(home, known) for known in SCHEDULES[part.schedule].homes):
                    cells.setdefault((part.schedule, home), []).append(cell.label)
    for (schedule, home), labels in cells.items():
        tuned = " and ".join(map(str, SCHEDULES[schedule].homes))
        others = f" and {len(labels) - 1} more" if len(labels) > 1 else ""
        yield (
            f"{labels[0]}{others}: the DP-SGD schedule '{schedule}' was tuned for {tuned}, and "
            f"this grid trains {home}: DP-SGD may look worse here than it is; "
            f"tune it: dpbench tune {named}"
        )


def _home(grid: Grid, cell: Composition) -> Home:
    """Returns what a cell trains, in the terms of a schedule's home."""
    population = grid.population
    changing = [
        part.label()
        for part in cell.parts
        if overrides(part, "remodel") or overrides(part, "represent") or overrides(part, "train")
    ]
    return Home(
        dataset=population.dataset,
        model="+".join([*changing, grid.model.label()]),
        members=population.pool // 2,
        average_pool=population.average_pool,
        classes=tuple(population.classes or ()),
    )


def _alike(one: Home, other: Home) -> bool:
    times = max(one.members, other.members) / min(one.members, other.members)
    return one._replace(members=other.members) == other and times <= _MOST_TIMES
