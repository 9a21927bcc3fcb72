"""What a command says beside its result, on stderr."""

from typing import TYPE_CHECKING

from rich.console import Console

if TYPE_CHECKING:
    from dpbench.study.spec import Grid


def warn_of_borrowed_schedules(grid: "Grid", *, named: str) -> None:
    """Says which cells train DP-SGD by a schedule that was tuned for something else.

    Args:
        grid: The grid.
        named: What the user calls it.
    """
    from dpbench.tuning.borrowed import borrowed_schedules

    err = Console(stderr=True)
    for warning in borrowed_schedules(grid, named=named):
        err.print(f"warning: {warning}", style="yellow", markup=False, soft_wrap=True)
