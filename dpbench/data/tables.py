"""What a user's file holds; reads an .npz without trusting it: no pickle, sizes checked first."""

from dataclasses import dataclass
from pathlib import Path

from dpbench import npz
from dpbench.data.base import Array
from dpbench.errors import UserError

_KEYS = (("x", "y"), ("features", "labels"), ("X", "Y"))


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a file holds, before it is judged.

    Attributes:
        path: The file, for messages.
        inputs: Features.
        labels: Labels, one per row.
        binary: Declared bits, or None.
        columns: Feature names, or none.
        label_column: The name of the labels' column, or none.
        read_as: How a text was understood.
    """

    path: Path
    inputs: Array
    labels: Array
    binary: Array | None = None
    columns: tuple[str, ...] = ()
    label_column: str = ""
    read_as: str = ""


def read_npz(path: Path) -> Table:
    """Returns the arrays of an .npz.

    Raises:
        UserError: It is no .npz, lacks the keys, holds objects, or is too large.
    """
    try:
        with npz.open_npz(path) as archive:
            pair = next((keys for keys in _KEYS if set(keys) <= set(archive.names)), None)
            if pair is None:
                raise UserError(
                    f"{path}: its keys are {', '.join(sorted(archive.names)) or 'none'}",
                    allowed="x and y, features and labels, or X and Y",
                )
            wanted = [*pair, *(["binary"] if "binary" in archive.names else [])]
            arrays = [_array(archive, key, path=path) for key in wanted]
    except npz.Unreadable as error:
        raise UserError(f"{path}: {error}", allowed="an .npz file") from None
    inputs, labels, *declared = arrays
    binary = declared[0] if declared else None
    return Table(path=path, inputs=inputs, labels=labels, binary=binary)


def _array(archive: npz.Npz, key: str, *, path: Path) -> Array:
    try:
        return archive.array(key)
    except npz.Unreadable as error:
        raise UserError(
            f"{path}: '{key}' {error}",
            next_step="save it as a plain array of numbers or of text",
        ) from None
