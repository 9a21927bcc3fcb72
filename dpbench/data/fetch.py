"""Gets a data set's published files into the data folder. Only ever on the user's request."""

import os
import tempfile
from pathlib import Path
from typing import cast
from urllib.request import urlopen

from dpbench.component import find
from dpbench.data import torchvision_sets
from dpbench.data.base import Dataset
from dpbench.data.published import PublishedFile, data_folder
from dpbench.errors import UserError

_LIMIT = 2**30
_TIMEOUT_SECONDS = 60.0


def download(name: str, data_dir: Path | None = None) -> list[Path]:
    """Downloads one data set and checks its digests.

    Args:
        name: The data set.
        data_dir: The data folder; None asks `DPBENCH_DATA`, then the cache folder.

    Returns:
        What is now in place: files, or the data folder where torchvision filled it. Nothing for a
        set that comes with the package.

    Raises:
        UserError: The set is unknown or not to be had this way, the network failed, or what came is
            not the published file.
    """
    dataset = cast(type[Dataset], find("dataset", name, where="download"))
    folder = data_folder(data_dir)
    if dataset.embedded:
        return []
    if dataset.torchvision_class:
        torchvision_sets.fetch(dataset.torchvision_class, folder)
        return [folder]
    if not dataset.files:
        raise UserError(
            f"download: '{name}' cannot be downloaded by dpbench", next_step=f"see {dataset.source}"
        )
    return [_fetch(file, folder, name=name) for file in dataset.files]


def _fetch(file: PublishedFile, folder: Path, *, name: str) -> Path:
    present = file.locate(folder)
    if present is not None:
        file.read(folder, dataset=name, source=file.url)
        return present
    target = folder / file.paths[0]
    try:
        with urlopen(file.url, timeout=_TIMEOUT_SECONDS) as response:
            content: bytes = response.read(_LIMIT)
    except OSError as error:
        raise UserError(
            f"{name}: {file.url}: {error}",
            next_step=f"get the file some other way and put it at {target}",
        ) from None
    file.verify(content, where=f"{name}: {file.url}")
    _publish(content, target)
    return target


def _publish(content: bytes, target: Path) -> None:
    """Writes beside the target and renames: an interrupted download leaves no half file."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=target.parent)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        os.chmod(partial, 0o644)
        os.replace(partial, target)
    except OSError as error:
        raise UserError(
            f"{target}: cannot be written: {error}",
            next_step="name a folder you may write to by --data-dir or DPBENCH_DATA",
        ) from None
