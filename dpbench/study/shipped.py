"""Finding grids by name: in the folder `grids` here, and beside the installed package."""

from pathlib import Path

from dpbench.errors import UserError, suggest

EXPECTATION = ".expect.yaml"
"""How the names of files end that stand beside grids and say what papers reported."""


def grid_folders() -> list[Path]:
    """Returns the folders that hold grids, nearest first."""
    package = Path(__file__).parents[1]
    candidates = [Path("grids"), package / "grids", package.parent / "grids"]
    return list(dict.fromkeys(folder.resolve() for folder in candidates if folder.is_dir()))


def list_grids() -> dict[str, Path]:
    """Returns the name and file of every grid that can be run by name."""
    found: dict[str, Path] = {}
    for folder in grid_folders():
        for path in sorted(folder.rglob("*.yaml")):
            if not path.name.endswith(EXPECTATION):
                found.setdefault(path.stem, path)
    return found


def find_grid(name: str) -> Path:
    """Returns the file that a user means by a path or by the name of a grid.

    Raises:
        UserError: There is neither such a file nor such a grid.
    """
    if Path(name).is_file():
        return Path(name)
    grids = list_grids()
    if name in grids:
        return grids[name]
    raise UserError(
        f"{name}: no such grid file",
        allowed="a YAML file, or one of: " + ", ".join(grids),
        next_step=suggest(Path(name).stem, grids) or "dpbench list grids",
    )


def purpose(path: Path) -> str:
    """Returns the first comment line of a grid: what it answers."""
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    return first.lstrip("# ").strip() if first.startswith("#") else ""
