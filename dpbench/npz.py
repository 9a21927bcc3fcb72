"""Reads the arrays of an .npz without trusting it: no pickle, and sizes are checked first."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 8 * 2**30
"""Largest file, and largest array in one, that is read into memory."""


class Unreadable(Exception):
    """Why a file or an array is not read: a predicate, such as `holds Python objects`."""


class Npz:
    """An open archive.

    Attributes:
        names: The names of its arrays.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        self.names = tuple(self._members)

    def array(self, name: str) -> NDArray[Any]:
        """Reads one array only after its header agrees with the bytes that follow it.

        Raises:
            Unreadable: It does not, or holds objects, or is damaged.
        """
        info = self._members[name]
        with _refused(), self._archive.open(info) as stream:
            shape, dtype = _header(stream)
            header_bytes = stream.tell()
        if dtype.hasobject:
            raise Unreadable("holds Python objects, which are never unpickled")
        promised, present = math.prod(shape) * dtype.itemsize, info.file_size - header_bytes
        if promised != present or promised > MAX_BYTES:
            raise Unreadable(
                f"has {present:,} bytes where its header promises {promised:,} "
                f"(at most {MAX_BYTES:,})"
            )
        with _refused(), self._archive.open(info) as stream:
            return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


@contextmanager
def open_npz(path: Path) -> Iterator[Npz]:
    """Opens an archive.

    Raises:
        Unreadable: It is none.
    """
    with _refused():
        archive = zipfile.ZipFile(path)
    with archive:
        yield Npz(archive)


@contextmanager
def _refused() -> Iterator[None]:
    # The parsers behind an archive (zip, five compressions, array headers as Python literals) raise
    # whatever they come across in a damaged one, running out of memory included.
    try:
        yield
    except Exception as error:
        raise Unreadable(f"cannot be read: {error or type(error).__name__}") from None


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"array format {version} is not supported")
    shape, _, dtype = read(stream)
    return shape, dtype
