"""Reads a user's .csv: which column is the label, and which is no feature at all."""

import re
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dpbench.data.base import Array
from dpbench.data.csv_cells import (
    DECIMAL_COMMA,
    NUMBER,
    SEPARATORS,
    THOUSANDS,
    Cells,
    matches,
    read_cells,
)
from dpbench.data.csv_header import LABEL, MISSING, CsvRows, has_header
from dpbench.data.tables import Table
from dpbench.errors import UserError

_SAMPLE = 2000
_TRUTH = r"^(?i:true|false)$"
_UNNAMED = re.compile(r"(unnamed: \d+(_level_\d+)?(\.\d+)?)?", re.IGNORECASE)
"""No name, or what pandas makes of none when it reads and writes a file again."""

_ROW_NUMBERS = frozenset(
    ("index", "id", "row", "row_id", "rowid", "row_number", "rownames", "rowname")
)
_OTHER_LABELS = frozenset(("labels", "target", "targets", "class", "classes", "outcome"))


def read_csv(path: Path) -> Table:
    """Returns the columns of a separated file, with or without a header.

    Raises:
        UserError: It can be read in two ways, a column is an index, or a cell is missing or not a
            number. The message names column and row; rows count from 1 below the header.
    """
    cells = read_cells(path)
    header = has_header(_rows(cells), path=path)
    columns = [column.slice(1) if header else column for column in cells.columns]
    width, count = len(columns), len(columns[0])
    if not count:
        raise UserError(f"{path}: {count} rows of {width} columns", allowed="2 columns or more")
    names = cells.first if header else [f"column {number}" for number in range(1, width + 1)]
    names[0] = names[0].removeprefix("#").strip() or names[0]  # as NumPy comments its header out
    _require_names(names, columns, path=path)
    target = _label_column(names, path=path)
    features = [number for number in range(width) if number != target]
    for number in features:
        _refuse_index(names[number] if header else "", columns[number], number, path=path)
    return Table(
        path=path,
        inputs=np.stack([_numbers(columns[i], names[i], header, path) for i in features], axis=1),
        labels=_labels(columns[target], path=path),
        columns=tuple(_printable(names[index]) for index in features),
        label_column=_printable(names[target]),
        read_as=_description(cells, header=header),
    )


def _rows(cells: Cells) -> CsvRows:
    """Returns what tells a header; the share of numbers is that of a sample."""
    below = [column.slice(1, _SAMPLE) for column in cells.columns]
    last, label = cells.columns[-1].slice(1), cells.first[-1]
    numeric = [
        bool(len(column)) and (matches(column, NUMBER) | matches(column, _TRUTH)).mean() > 0.5
        for column in below
    ]
    return CsvRows(
        cells.first,
        [bool(is_number) for is_number in numeric],
        np.stack([_floats(column) for column in below], axis=1),
        bool(pc.any(pc.equal(last, label)).as_py()),
    )


def _floats(column: Any) -> NDArray[np.float64]:
    """Returns the numbers of a column, True and False as 1 and 0, and NaN for all else."""
    numbers = pc.if_else(pa.array(matches(column, NUMBER)), column, None)
    values: NDArray[np.float64] = np.array(pc.cast(numbers, pa.float64()), dtype=np.float64)
    truth = matches(column, _TRUTH)
    if truth.all():
        values = np.asarray(matches(column, r"^(?i:true)$"), dtype=np.float64)
    return values


def _require_names(names: list[str], columns: list[Any], *, path: Path) -> None:
    for number, (name, column) in enumerate(zip(names, columns, strict=True), start=1):
        if _UNNAMED.fullmatch(name):
            empty = bool(pc.all(pc.equal(column, "")).as_py())
            raise UserError(
                f"{path}: column {number} has no name"
                + (
                    " and is empty"
                    if empty
                    else f" and begins with {_printable(column[0].as_py())}"
                ),
                next_step="remove the separator at the end of each line"
                if empty
                else "an index is no feature: write with index=False, or name the column",
            )
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        places = " and ".join(str(i) for i, name in enumerate(names, start=1) if name == twice[0])
        raise UserError(
            f"{path}: columns {places} are both named '{_printable(twice[0])}'",
            allowed="a name of its own for each column",
        )


def _label_column(names: list[str], *, path: Path) -> int:
    labels = [number for number, name in enumerate(names) if name.lower() == LABEL]
    likely = [number for number, name in enumerate(names) if name.lower() in _OTHER_LABELS]
    last = len(names) - 1
    if len(labels) > 1 or (not labels and likely and last not in likely):
        found = ", ".join(f"'{_printable(names[number])}'" for number in labels or likely)
        raise UserError(
            f"{path}: the label may be in {found}, or in the last column, "
            f"'{_printable(names[last])}'",
            next_step="name the column of labels 'label'",
        )
    return labels[0] if labels else last


def _refuse_index(name: str, column: Any, number: int, *, path: Path) -> None:
    """Refuses a column that counts the rows, unless its name says that it is something else."""
    if name and name.lower() not in _ROW_NUMBERS:
        return
    values = _floats(column)
    if len(values) > 2 and (np.diff(values) == 1).all():
        raise UserError(
            f"{path}: column {number + 1}"
            + (f", '{_printable(name)}'," if name else "")
            + f" counts the rows from {values[0]:g} on",
            next_step="an index is no feature: write with index=False, or name what it measures",
        )


def _numbers(column: Any, name: str, header: bool, path: Path) -> Array:
    values = _floats(column)
    wrong = np.flatnonzero(np.isnan(values))
    if len(wrong):
        _refuse_cell(column[int(wrong[0])].as_py(), int(wrong[0]) + 1, name, header, path)
    return values


def _refuse_cell(cell: str, row: int, name: str, header: bool, path: Path) -> NoReturn:
    where, shown = f"{path}: column '{_printable(name)}', row {row}", _printable(cell)
    if cell.lower() in MISSING:
        problem, step = (
            f"'{shown}' is a missing value",
            "fill or drop missing values before writing the file",
        )
    elif header and cell == name:
        problem, step = f"'{shown}' repeats the header", "write the header once"
    elif pc.match_substring_regex(pa.scalar(cell), THOUSANDS).as_py():
        problem, step = f"'{shown}' is not a number", "write numbers without thousands separators"
    elif pc.match_substring_regex(pa.scalar(cell), DECIMAL_COMMA).as_py():
        problem, step = (
            f"'{shown}' is not a number",
            "write decimal points, or semicolons between cells",
        )
    elif cell.lower().lstrip("+-") in ("inf", "infinity"):
        problem, step = f"{shown} is not valid", "write finite numbers"
    else:
        problem, step = f"'{shown}' is not a number", "turn categories into 0/1 columns"
    raise UserError(f"{where}: {problem}", next_step=step)


def _labels(column: Any, *, path: Path) -> Array:
    texts = np.array(column.to_pylist())
    values = _floats(column)
    if not np.isnan(values).any() and not matches(column, _TRUTH).all():
        return values
    # 'none' may be a class, as in none, mild, severe; in a column of numbers it is none.
    missing = MISSING if np.isnan(values).mean() < 0.5 else MISSING - {"none"}
    for row, text in enumerate(texts, start=1):
        if text.lower() in missing:
            raise UserError(
                f"{path}: row {row} has no label" + (f": '{_printable(text)}'" if text else ""),
                next_step="drop the row, or give the class another name",
            )
    return texts


def _description(cells: Cells, *, header: bool) -> str:
    said = [
        "names in the first row" if header else "no names in the first row",
        f"separated by {SEPARATORS[cells.separator]}",
        *(["decimal commas"] if cells.decimal == "," else []),
    ]
    return ", ".join(said)


def _printable(text: str) -> str:
    """Returns a name or a cell as a message can show it."""
    kept = "".join(char if char.isprintable() else "?" for char in text)
    return kept if len(kept) <= 60 else f"{kept[:59]}…"
