"""Which results the studies in a folder refer to."""

from pathlib import Path

from dpbench.errors import UserError
from dpbench.jobs.store import COMPARISONS, Store
from dpbench.study.folder import open_run
from dpbench.study.plan import make_plan


def wanted(folder: Path, *, data_dir: Path | None, plugins: list[Path]) -> set[str]:
    """Returns the keys that the grid in a folder and the comparisons in it refer to.

    Raises:
        UserError: There is no run, or its store belongs to another folder.
    """
    root = Store.of(folder).root
    if root.parent != folder.absolute() and root.parent != folder:
        raise UserError(
            f"{folder}: its records are in {root}", next_step=f"dpbench gc {root.parent}"
        )
    keys = set[str]()
    for path in (folder, *sorted((folder / COMPARISONS).glob("*"))):
        if path == folder or (path / "grid.yaml").is_file():
            keys |= make_plan(open_run(path, data_dir=data_dir, plugins=plugins)).jobs.keys()
    return keys
