"""The content-addressed store: the only truth about what has been done.

A finished job is a folder named by its key, written elsewhere and published by one rename, so a
reader sees all of it or nothing. Running a job twice costs time, never correctness.
"""

import json
import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from dpbench.errors import UserError

Arrays = dict[str, NDArray[Any]]

COMPARISONS = "compare"
"""The folder of a run's comparisons."""


class Failure(NamedTuple):
    """Why a job has no result.

    Attributes:
        kind: `failed` or `not_applicable`.
        reason: One sentence for the tables.
        traceback: Where it happened, for the log; empty when the reason says it all.
    """

    kind: str
    reason: str
    traceback: str = ""


class Store:
    """Results, failures and claims under one folder, which several machines may share."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @classmethod
    def of(cls, folder: Path) -> "Store":
        """Returns the store of a run's folder; a comparison inside a run's folder shares the run's.

        So what a comparison needs of the run is never computed again.
        """
        run = folder.absolute().parent.parent
        shared = folder.absolute().parent.name == COMPARISONS and (run / "grid.yaml").is_file()
        return cls((run if shared else folder) / "store")

    def create(self) -> None:
        """Makes the folders.

        Raises:
            UserError: The folder cannot be written.
        """
        try:
            for name in ("objects", "failures", "claims", "tmp"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            probe = self.root / "tmp" / f"probe.{uuid.uuid4().hex}"
            probe.write_text("")
            probe.unlink()
        except OSError as error:
            raise UserError(
                f"{self.root}: cannot be written ({error.strerror})",
                next_step="choose another folder with --out",
            ) from None

    def has(self, key: str) -> bool:
        """Tells whether the job is finished."""
        return (self._object(key) / "record.json").exists()

    def finished(self) -> set[str]:
        """Returns the keys of all finished jobs."""
        objects = self.root / "objects"
        return {path.name for path in objects.glob("*/*") if (path / "record.json").exists()}

    def record(self, key: str) -> dict[str, Any]:
        """Returns the record of a finished job."""
        text = (self._object(key) / "record.json").read_text(encoding="utf-8")
        result: dict[str, Any] = json.loads(text)
        return result

    def array(self, key: str, name: str) -> NDArray[Any]:
        """Returns one array of a finished job, reading nothing else."""
        with safe_open(self._object(key) / "arrays.safetensors", framework="numpy") as file:
            value: NDArray[Any] = file.get_tensor(name)
            return value

    def arrays(self, key: str) -> Arrays:
        """Returns all arrays of a finished job."""
        with safe_open(self._object(key) / "arrays.safetensors", framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118

    def publish(self, key: str, record: Mapping[str, Any], arrays: Arrays | None = None) -> None:
        """Makes a job finished: all its files appear at once, the record written last."""
        folder = self.root / "tmp" / f"{key}.{uuid.uuid4().hex}"
        folder.mkdir()
        if arrays is not None:
            path = folder / "arrays.safetensors"
            save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, path)
            _sync(path)
        _write(folder / "record.json", json.dumps(record, indent=1, sort_keys=True))
        final = self._object(key)
        final.parent.mkdir(exist_ok=True)
        try:
            folder.rename(final)
            _sync(final.parent)
        except OSError:
            # Another worker published the same job first: its result is as good as this one.
            shutil.rmtree(folder)
            if not self.has(key):
                raise

    def fail(self, key: str, failure: Failure) -> None:
        """Records that a job has no result, and why."""
        self._replace(self._failure(key), json.dumps(failure._asdict(), indent=1))

    def failure(self, key: str) -> Failure | None:
        """Returns why a job has no result, or None."""
        try:
            return Failure(**json.loads(self._failure(key).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def failures(self) -> set[str]:
        """Returns the keys of all jobs without a result."""
        return {path.stem for path in (self.root / "failures").glob("*.json")}

    def forget_failure(self, key: str) -> None:
        """Lets a failed job run again."""
        self._failure(key).unlink(missing_ok=True)

    def clear_unfinished(self) -> None:
        """Removes what interrupted writers left; only for when no worker is running."""
        for path in (self.root / "tmp").iterdir():
            with suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _object(self, key: str) -> Path:
        return self.root / "objects" / key[:2] / key

    def _failure(self, key: str) -> Path:
        return self.root / "failures" / f"{key}.json"

    def _replace(self, path: Path, text: str) -> None:
        temporary = self.root / "tmp" / f"{path.name}.{uuid.uuid4().hex}"
        _write(temporary, text)
        temporary.replace(path)


def _write(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
