"""A user's own data: `dataset: file, path: X.npz` (or .csv)."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dpbench.component import register
from dpbench.data.base import Array, Bools, Dataset, Ints, RawData, Told, no_bits
from dpbench.data.csv_table import read_csv
from dpbench.data.tables import Table, read_npz
from dpbench.errors import UserError
from dpbench.home import expanded

_LARGEST = float(np.finfo(np.float32).max)


@register
@dataclass(frozen=True, kw_only=True)
class File(Dataset):
    """Any classification data in one file; nothing is executed and no pickle is opened.

    `.npz`: keys `x`/`y`, `features`/`labels` or `X`/`Y`. Inputs are `(n, features)` numbers, or
    images `(n, height, width)` or `(n, channels, height, width)`, uint8 or floats in [0, 1].
    An optional key `binary`, `(features,)` bool, declares which features hold bits.

    `.csv`: numbers, and the label in the column named `label`, or else in the last one; separated
    by commas, semicolons, tabs or pipes. What may be read in two ways is refused.

    Labels are integers or names, or one-hot rows; they are mapped to 0..k-1 in ascending order.
    Without a declaration, the features that hold only 0 and 1 throughout the file are bits.

    Attributes:
        path: The file, relative to the working directory.
    """

    licence: ClassVar[str] = "the user's"
    source: ClassVar[str] = "the user"

    path: str

    def load(self, data_dir: Path) -> RawData:
        """Returns the file's content.

        Raises:
            UserError: The file is missing or malformed, a value is NaN or infinite, or the labels
                are not classes. The message names the offending column.
        """
        del data_dir
        path = expanded(self.path, field="population.path")
        readers = {".npz": read_npz, ".csv": read_csv}
        if path.suffix not in readers:
            raise UserError(
                f"population.path: '{self.path}' is of an unknown type", allowed="*.npz or *.csv"
            )
        if not os.path.isfile(path):  # False for a name too long for any file, too
            raise UserError(
                f"population.path: there is no file '{self.path}'",
                next_step=f"relative paths start at {Path.cwd()}",
            )
        return _raw(readers[path.suffix](path))


def _raw(table: Table) -> RawData:
    where = str(table.path)
    if table.inputs.ndim < 2 or 0 in table.inputs.shape or len(table.inputs) != len(table.labels):
        raise UserError(
            f"{where}: inputs {table.inputs.shape} do not go with labels {table.labels.shape}",
            allowed="(n, features), (n, height, width) or (n, channels, height, width)",
        )
    if table.inputs.dtype.kind not in "biuf":
        raise UserError(f"{where}: inputs are {table.inputs.dtype}", allowed="numbers")
    _require_finite(table)
    is_image = table.inputs.ndim > 2
    inputs = _images(table.inputs, where=where) if is_image else table.inputs.astype(np.float64)
    labels, class_names = _classes(table.labels, where=where)
    return RawData(
        train_x=inputs,
        train_y=labels,
        test_x=None,
        test_y=None,
        n_classes=len(class_names),
        is_image=is_image,
        binary=no_bits(inputs.shape[1:]) if is_image else _bits(table, inputs),
        told=Told(
            label_column=table.label_column,
            class_names=class_names,
            read_as=table.read_as,
            notes=() if is_image else tuple(_identifiers(table, inputs)),
        ),
    )


def _identifiers(table: Table, inputs: Array) -> Iterator[str]:
    """Yields a note on every feature that numbers the rows: it tells copies of an input apart."""
    if len(inputs) < 3:
        return
    for number in np.flatnonzero((np.diff(inputs, axis=0) > 0).all(axis=0)):
        if (inputs[:, number] == np.rint(inputs[:, number])).all():
            name = f"'{table.columns[number]}'" if table.columns else str(number)
            yield (
                f"feature {name} increases from row to row; if it numbers the rows, leave it out: "
                "it hides duplicates and gives members away"
            )


def _require_finite(table: Table) -> None:
    with np.errstate(invalid="ignore"):
        fine = np.abs(table.inputs.astype(np.float64)) <= _LARGEST
    if not fine.all():
        row, *feature = (int(part) for part in np.argwhere(~fine)[0])
        name = table.columns[feature[0]] if table.columns else ", ".join(map(str, feature))
        raise UserError(
            f"{table.path}: column '{name}', row {row}: {table.inputs[row, *feature]} is not valid",
            allowed="finite numbers that fit 32-bit floats",
            next_step="fill or drop missing values before writing the file",
        )


def _images(inputs: Array, *, where: str) -> Array:
    images = inputs[:, None] if inputs.ndim == 3 else inputs
    if images.ndim != 4 or (images.shape[1] > 4 and images.shape[3] <= 4):
        raise UserError(
            f"{where}: images of shape {inputs.shape}",
            allowed="(n, height, width) or (n, channels, height, width)",
            next_step="x.transpose(0, 3, 1, 2) puts the channels first",
        )
    top = 1 if images.dtype.kind == "f" else 255
    if images.min() < 0 or images.max() > top:
        raise UserError(
            f"{where}: pixels range from {images.min()} to {images.max()}",
            allowed="integers 0 to 255, or floats 0 to 1",
        )
    return images.astype(np.float32 if top == 1 else np.uint8)


def _classes(labels: Array, *, where: str) -> tuple[Ints, tuple[str, ...]]:
    if labels.ndim == 2 and labels.shape[1] > 1:
        one_hot = np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all()
        if not one_hot:
            raise UserError(f"{where}: labels {labels.shape} are not one-hot rows")
        labels = labels.argmax(axis=1)
    labels = labels.reshape(len(labels), -1)
    if labels.shape[1] != 1 or labels.dtype.kind not in "biufUS":
        raise UserError(
            f"{where}: labels of shape {labels.shape} and type {labels.dtype}",
            allowed="(n,) integers or names, or (n, classes) one-hot rows",
        )
    if labels.dtype.kind == "f" and not (np.isfinite(labels) & (labels == np.rint(labels))).all():
        raise UserError(f"{where}: labels are not whole numbers", allowed="one integer per class")
    values, numbers = np.unique(labels.ravel(), return_inverse=True)
    if len(values) < 2:
        raise UserError(f"{where}: all labels are {values[0]!s}", allowed="two classes or more")
    return numbers.astype(np.int64), tuple(map(_name, values))


def _name(value: Any) -> str:
    """Returns a class as it is shown: 3 for 3.0, and text for bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return f"{value:g}" if isinstance(value, np.floating) else str(value)


def _bits(table: Table, inputs: Array) -> Bools:
    only_bits = ((inputs == 0) | (inputs == 1)).all(axis=0)
    if table.binary is None:
        return np.asarray(only_bits, dtype=bool)
    declared = table.binary
    if declared.dtype != bool or declared.shape != only_bits.shape or (declared & ~only_bits).any():
        raise UserError(
            f"{table.path}: 'binary' is {declared.dtype} {declared.shape}",
            allowed=f"bool {only_bits.shape}, True only for features that hold nothing but 0 and 1",
        )
    return declared
