"""Writes arrays to a safetensors file, including arrays that do not fit into memory."""

import json
import math
import struct
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

_NAMES = {"float32": "F32", "float64": "F64", "uint8": "U8"}
# SpooledRows of up to 64 MB stay in memory. More go to a file and are copied 16 MB at a time.
_PIECE_BYTES, _SPOOLED_BYTES = 2**24, 2**26


class SpooledRows:
    """An array that is built some rows at a time, and kept in a temporary file if it is large.

    Args:
        folder: The folder of that file. The file has no name, so it disappears with the process.
    """

    def __init__(self, folder: Path) -> None:
        spooled = tempfile.SpooledTemporaryFile[bytes]
        self._file = spooled(max_size=_SPOOLED_BYTES, dir=str(folder))
        self.shape: tuple[int, ...] = (0,)
        self.dtype: np.dtype[Any] = np.dtype(np.float32)

    def __del__(self) -> None:
        """Deletes the file of rows that were never published."""
        self._file.close()

    def append(self, block: NDArray[Any]) -> None:
        """Adds rows `(m, ...)`, all of one type and shape."""
        self.shape = (self.shape[0] + len(block), *block.shape[1:])
        self.dtype = block.dtype
        # Row by row: a block that is a strided view would otherwise be copied as a whole.
        for row in block:
            self._file.write(np.ascontiguousarray(row).tobytes())

    def pieces(self) -> Iterator[bytes]:
        """Yields the bytes of all rows once; the file is deleted afterwards."""
        with self._file:
            self._file.seek(0)
            while piece := self._file.read(_PIECE_BYTES):
                yield piece


Arrays = Mapping[str, NDArray[Any] | SpooledRows]


def save_arrays(arrays: Arrays, path: Path) -> None:
    """Writes a safetensors file, with the same bytes whether an array is in memory or in a file."""
    plain = {name: value for name, value in arrays.items() if not isinstance(value, SpooledRows)}
    if len(plain) == len(arrays):
        save_file({name: np.ascontiguousarray(value) for name, value in plain.items()}, path)
        return
    # safetensors sorts by item size, largest first, and then by name. A result's digest covers the
    # bytes of this file, so both ways of writing it must agree.
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))
    with path.open("wb") as file:
        file.write(_header(names, arrays))
        for name in names:
            value = arrays[name]
            for piece in value.pieces() if isinstance(value, SpooledRows) else [value.tobytes()]:
                file.write(piece)


def _header(names: list[str], arrays: Arrays) -> bytes:
    entries, place = {}, 0
    for name in names:
        value = arrays[name]
        stop = place + math.prod(value.shape) * value.dtype.itemsize
        entries[name] = {
            "dtype": _NAMES[value.dtype.name],
            "shape": list(value.shape),
            "data_offsets": [place, stop],
        }
        place = stop
    text = json.dumps(entries, separators=(",", ":")).encode()
    # As safetensors does: the data begin at a multiple of 8, so that mapped arrays are aligned.
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text
