"""The content-addressed store: the only record of what has been done.

A finished job is a folder named by its key, written elsewhere and published by one rename, so a
reader sees all of it or nothing. Running a job twice costs time, never correctness.
"""

import contextlib
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Hashable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from dpbench.errors import UserError
from dpbench.faults import as_os_error, is_fault
from dpbench.jobs.array_file import SpooledRows, save_arrays
from dpbench.jobs.keys import canonical
from dpbench.jobs.replace import write_synced

Arrays = dict[str, NDArray[Any]]

FORMAT = 2
"""Raised when keys change: results of another format are never found by their keys."""

COMPARISONS = "compare"
"""The folder of a run's comparisons."""

# Answers of all models of a cell, and of each of its two folds.
_MOST_REMEMBERED = 3

_NOT_RESULTS = ("digest", "label", "measured")
_RESTORE = "remove this folder and run again with --retry-failed, or copy it anew"


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
        self._remembered: dict[Hashable, NDArray[Any]] = {}

    @classmethod
    def of(cls, folder: Path) -> "Store":
        """Returns the store of a run's folder.

        A comparison inside a run's folder shares the run's store, so that it recomputes nothing.
        """
        run = folder.absolute().parent.parent
        shared = folder.absolute().parent.name == COMPARISONS and (run / "grid.yaml").is_file()
        return cls((run if shared else folder) / "store")

    def create(self) -> None:
        """Creates the folders.

        Raises:
            UserError: The folder cannot be written, or holds results of another format.
        """
        self.require_format()
        try:
            for name in ("objects", "failures", "claims", "deaths", "logs", "partial", "tmp"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
            # Writing the format also finds out whether the folder can be written at all.
            probe = self.root / "tmp" / f"probe.{uuid.uuid4().hex}"
            probe.write_text(f"{FORMAT}\n")
            probe.replace(self.root / "format")
        except OSError as error:
            raise UserError(
                f"{self.root}: cannot be written ({error.strerror})",
                next_step="choose another folder with --out",
            ) from None

    def require_format(self) -> None:
        """Checks that the store's results have the keys of this version.

        Raises:
            UserError: They were made by a version of dpbench with other keys.
        """
        try:
            found = (self.root / "format").read_text(encoding="utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            # The first format wrote no such file.
            found = "1" if (self.root / "objects").is_dir() else str(FORMAT)
        if found != str(FORMAT):
            raise UserError(
                f"{self.root}: results of format {found}, and this version writes format {FORMAT}",
                next_step="choose another folder with --out, or remove this one; its tables stay "
                "readable (cells.csv, attacks.csv)",
            )

    def has(self, key: str) -> bool:
        """Tells whether the job is finished."""
        return (self.folder(key) / "record.json").exists()

    def has_failed(self, key: str) -> bool:
        """Tells whether the job has failed."""
        return self._failure(key).exists()

    def finished(self, known: Set[str] = frozenset()) -> set[str]:
        """Returns the keys of all finished jobs; skips the check of those already known."""
        found = set()
        for folder in _entries(self.root / "objects"):
            for entry in _entries(folder):
                if entry.name in known or os.path.exists(f"{entry.path}/record.json"):
                    found.add(entry.name)
        return found

    def record(self, key: str) -> dict[str, Any]:
        """Returns the record of a finished job.

        Raises:
            UserError: The record is damaged.
        """
        text = _read(self._file(key, "record.json"))
        try:
            result: dict[str, Any] = json.loads(text.decode())
        except ValueError as error:
            raise self._damaged(key, error) from None
        return result

    def array(self, key: str, name: str) -> NDArray[Any]:
        """Returns one array of a finished job, reading nothing else.

        Raises:
            UserError: The arrays are damaged.
        """
        with self._opened(key) as file:
            value: NDArray[Any] = file.get_tensor(name)
            return value

    def rows(self, key: str, name: str, first: int, stop: int) -> NDArray[Any]:
        """Returns some rows of one array of a finished job, reading nothing else.

        Raises:
            UserError: The arrays are damaged.
        """
        with self._opened(key) as file:
            value: NDArray[Any] = file.get_slice(name)[first:stop]
            return value

    def arrays(self, key: str, prefix: str = "") -> Arrays:
        """Returns the arrays of a finished job whose names begin with a prefix, without it.

        Raises:
            UserError: The arrays are damaged.
        """
        with self._opened(key) as file:
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118
            return {name.removeprefix(prefix): file.get_tensor(name) for name in names}

    @contextlib.contextmanager
    def _opened(self, key: str) -> Iterator[Any]:
        path = self._file(key, "arrays.safetensors")
        try:
            with safe_open(path, framework="numpy") as file:
                yield file
        except (SafetensorError, FileNotFoundError) as error:
            # safetensors reports a lost file server as its own error. That is not this job's fault:
            # the job stays open, whereas damaged bytes fail it.
            fault = as_os_error(error, Path(path))
            raise fault if fault and is_fault(fault) else self._damaged(key, error) from None

    def _damaged(self, key: str, error: Exception) -> UserError:
        return UserError(f"{self.folder(key)}: cannot be read ({error})", next_step=_RESTORE)

    def remembered(self, name: Hashable, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Returns an array that this process made of results; it keeps the last few in memory."""
        if name not in self._remembered:
            while len(self._remembered) >= _MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
            self._remembered[name] = make()
        return self._remembered[name]

    def rows_of(self) -> SpooledRows:
        """Returns an array that is built some rows at a time, to be published."""
        return SpooledRows(self.root / "tmp")

    def publish(
        self,
        key: str,
        record: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any] | SpooledRows] | None = None,
    ) -> None:
        """Makes a job finished: all its files appear at once, the record written last.

        Raises:
            OSError: The files cannot be written, for example because the disk is full.
        """
        with self._temporary(key) as folder:
            folder.mkdir()
            if arrays is not None:
                _save(arrays, folder / "arrays.safetensors")
            # As it will be read back: the digest of the file must equal the one computed here.
            plain = json.loads(json.dumps(record))
            plain["digest"] = _digest(plain, folder)
            write_synced(folder / "record.json", json.dumps(plain, indent=1, sort_keys=True))
            self._put(folder, key)

    def adopt(self, key: str, source: "Store") -> None:
        """Publishes a copy of another store's result."""
        with self._temporary(key) as folder:
            shutil.copytree(source.folder(key), folder)
            for path in folder.iterdir():
                _sync(path)
            self._put(folder, key)

    def digest(self, key: str) -> str:
        """Returns the digest of a finished job's result, from the bytes that are there now.

        Raises:
            UserError: The bytes differ from those that were published.
        """
        folder = self.folder(key)
        try:
            record = self.record(key)
            found = _digest(record, folder)
        except (OSError, ValueError) as error:
            raise UserError(f"{folder}: cannot be read ({error})", next_step=_RESTORE) from None
        if found != record.get("digest", found):
            raise UserError(f"{folder}: damaged, its digest differs", next_step=_RESTORE)
        return found

    def remove(self, key: str) -> None:
        """Makes a finished job open again: its files disappear at once."""
        with self._temporary(key) as folder:
            self.folder(key).rename(folder)

    @contextlib.contextmanager
    def _temporary(self, key: str) -> Iterator[Path]:
        """Yields a unique path for a folder, and removes what is left there afterwards."""
        folder = self.root / "tmp" / f"{key}.{uuid.uuid4().hex}"
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _put(self, folder: Path, key: str) -> None:
        final = self.folder(key)
        final.parent.mkdir(exist_ok=True)
        try:
            folder.rename(final)
            # A rename survives a power cut only once the folder that holds it is synced.
            _sync(final.parent)
        except OSError:
            # Another worker published the same job first: its result is equally good.
            if not self.has(key):
                raise

    def fail(self, key: str, failure: Failure) -> None:
        """Records why a job has no result."""
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

    def folder(self, key: str) -> Path:
        """Returns the folder of a finished job."""
        return self.root / "objects" / key[:2] / key

    def partial(self, key: str) -> Path:
        """Returns the folder in which a long job saves its state."""
        return self.root / "partial" / key

    def forget_partial(self, key: str) -> None:
        """Removes the saved state of a job."""
        shutil.rmtree(self.partial(key), ignore_errors=True)

    def _file(self, key: str, name: str) -> str:
        # Tables of large grids name hundreds of thousands of files; strings are faster than Paths.
        return f"{self.root}/objects/{key[:2]}/{key}/{name}"

    def _failure(self, key: str) -> Path:
        return self.root / "failures" / f"{key}.json"

    def _replace(self, path: Path, text: str) -> None:
        temporary = self.root / "tmp" / f"{path.name}.{uuid.uuid4().hex}"
        try:
            write_synced(temporary, text)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _digest(record: Mapping[str, Any], folder: Path) -> str:
    """Returns the digest of a result: its arrays, and its record without what varies between runs.

    Labels are left out, too: a job that several cells share has the label of the first cell.
    """
    kept = {name: value for name, value in record.items() if name not in _NOT_RESULTS}
    digest = hashlib.blake2b(canonical(kept).encode(), digest_size=16)
    arrays = folder / "arrays.safetensors"
    if arrays.exists():
        with arrays.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _save(arrays: Mapping[str, NDArray[Any] | SpooledRows], path: Path) -> None:
    try:
        save_arrays(arrays, path)
    except SafetensorError as error:
        raise as_os_error(error, path) or error from None
    _sync(path)


def _read(path: str) -> bytes:
    """Returns a small file's bytes with half as many system calls as `open` makes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        text = b""
        while block := os.read(descriptor, 1 << 16):
            text += block
        return text
    finally:
        os.close(descriptor)


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
