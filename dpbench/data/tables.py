"""Reads a user's .npz or .csv without trusting it: no pickle, and sizes are checked first."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
    """

    path: Path
    inputs: Array
    labels: Array
    binary: Array | None = None
    columns: tuple[str, ...] = ()


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


def read_csv(path: Path) -> Table:
    """Returns the columns of a comma-separated file, with or without a header.

    Raises:
        UserError: It is too large, its rows differ in length, or a feature is not a number.
    """
    if path.stat().st_size > npz.MAX_BYTES:
        raise UserError(
            f"{path}: {path.stat().st_size:,} bytes", allowed=f"at most {npz.MAX_BYTES:,}"
        )
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = [row for row in csv.reader(lines) if row]
    except (ValueError, OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as .csv: {error}") from None
    names = [name.strip() for name in rows.pop(0)] if rows and _is_header(rows[0]) else []
    width = len(names or (rows[0] if rows else []))
    for number, row in enumerate(rows, start=1):
        if len(row) != width:
            raise UserError(f"{path}: row {number} has {len(row)} fields", allowed=f"{width}")
    if width < 2 or not rows:
        raise UserError(f"{path}: {len(rows)} rows of {width} columns", allowed="2 columns or more")
    names = names or [f"column {number}" for number in range(1, width + 1)]
    target = names.index("label") if "label" in names else width - 1
    features = [index for index in range(width) if index != target]
    columns = [_numbers([row[i] for row in rows], name=names[i], path=path) for i in features]
    return Table(
        path=path,
        inputs=np.stack(columns, axis=1),
        labels=_labels([row[target].strip() for row in rows], path=path),
        columns=tuple(names[index] for index in features),
    )


def _is_header(row: list[str]) -> bool:
    """Tells a header from data: it names the label, or none of its features is a number."""
    return "label" in [cell.strip() for cell in row] or not any(map(_is_number, row[:-1]))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _numbers(cells: list[str], *, name: str, path: Path) -> Array:
    try:
        return np.array([float(cell) for cell in cells])
    except ValueError:
        number, bad = next((i, c) for i, c in enumerate(cells, start=1) if not _is_number(c))
        raise UserError(
            f"{path}: column '{name}', row {number}: '{bad}' is not a number",
            next_step="turn categories into 0/1 columns, and fill or drop missing values",
        ) from None


def _labels(cells: list[str], *, path: Path) -> Array:
    if "" in cells:
        raise UserError(f"{path}: row {cells.index('') + 1} has no label")
    return np.array([float(c) for c in cells]) if all(map(_is_number, cells)) else np.array(cells)
