"""A run's folder: opening the run that is in it."""

from collections.abc import Sequence
from pathlib import Path

from dpbench.errors import UserError
from dpbench.jobs.store import Store
from dpbench.study.context import Context
from dpbench.study.spec import read_grid


def require_run(folder: Path) -> None:
    """Makes sure that a run was planned in a folder.

    Raises:
        UserError: There is none.
    """
    if not (folder / "grid.yaml").is_file():
        raise UserError(f"{folder}: no run here", next_step="dpbench run GRID --out DIR")


def open_run(
    folder: Path,
    *,
    device: str = "cpu",
    data_dir: Path | None = None,
    plugins: Sequence[Path] = (),
) -> Context:
    """Returns the run in a folder.

    Args:
        folder: The folder.
        device: Where it is to be computed.
        data_dir: Folder of downloaded sets.
        plugins: Where the plugins of the grid are on this machine, if they are elsewhere.

    Raises:
        UserError: There is no run.
    """
    require_run(folder)
    store = Store.of(folder)
    store.require_format()
    grid = read_grid(folder / "grid.yaml", plugins)
    return Context(grid=grid, store=store, device=device, data_dir=data_dir)
