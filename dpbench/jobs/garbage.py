"""Finds what a store no longer needs: results of no grid, and leftovers of dead processes."""

import re
import shutil
from collections.abc import Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dpbench.errors import UserError
from dpbench.jobs.claims import Claims
from dpbench.jobs.store import Store

# No process writes one file for ten minutes. A temporary file of a job that a living worker holds
# is kept at any age.
_MOST_SECONDS = 600.0
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}")


class Garbage(NamedTuple):
    """One file or folder that can be removed.

    Attributes:
        path: The file or folder.
        what: Why it can be removed.
        size: Bytes.
    """

    path: Path
    what: str
    size: int

    def remove(self) -> None:
        """Removes it, unless another process already has."""
        if self.path.is_dir():
            shutil.rmtree(self.path, ignore_errors=True)
        else:
            self.path.unlink(missing_ok=True)


def find_garbage(folder: Path, keep: Set[str]) -> list[Garbage]:
    """Returns everything that can be removed.

    Args:
        folder: The run's folder.
        keep: The keys of its jobs.

    Raises:
        UserError: A living worker runs a job that is not in `keep`.
    """
    store = Store.of(folder)
    claims = Claims(store.root / "claims")
    alive = claims.active()
    # The inputs of such a job are unknown here: removing them would make it fail.
    for key in alive.keys() - keep:
        claim = alive[key]
        where = f"process {claim.pid} on {claim.host}" if claim else "a process"
        raise UserError(
            f"{where} is on a job that this grid does not have ({key})",
            next_step="wait until it ends; perhaps it runs another version of the grid",
        )
    now = claims.now()
    found = [*_records(store, keep), *((path, "claim of a dead process") for path in claims.dead())]
    for path in (*_inside(store.root / "tmp"), *_inside(folder)):
        # In the run's folder, only names made by `replace_file` are ours: users keep files there.
        ours = path.parent != folder or _TEMPORARY.fullmatch(path.name)
        held = path.name.split(".")[0] in alive
        if ours and not held and now - _newest(path) > _MOST_SECONDS:
            found.append((path, "half-written"))
    return [Garbage(path, what, _size(path)) for path, what in found]


def _records(store: Store, keep: Set[str]) -> Iterator[tuple[Path, str]]:
    for prefix in _inside(store.root / "objects"):
        for path in _inside(prefix):
            if path.name not in keep:
                yield path, "result that the grid does not refer to"
            elif not store.has(path.name):
                yield path, "result without a record"
    for path in _inside(store.root / "failures"):
        if path.stem not in keep:
            yield path, "failure that the grid does not refer to"
    for path in _inside(store.root / "logs"):
        if path.suffix == ".jsonl" and path.stem not in keep:
            yield path, "log of a job that the grid does not refer to"
    for path in _inside(store.root / "partial"):
        if path.name not in keep or store.has(path.name):
            yield path, "half of a training that is over"
    for path in _inside(store.root / "deaths"):
        key = path.name.split(".")[0]
        if key not in keep or store.has(key):
            yield path, "note about a job that is over"


def _inside(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _newest(path: Path) -> float:
    # A folder's own time does not change when a file inside it grows.
    times = [0.0]
    for one in (path, *path.rglob("*")):
        with suppress(OSError):
            times.append(one.stat().st_mtime)
    return max(times)


def _size(path: Path) -> int:
    size = 0
    for one in (path, *path.rglob("*")):
        with suppress(OSError):
            size += one.stat().st_size if not one.is_dir() else 0
    return size
