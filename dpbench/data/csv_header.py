"""Whether the first row of a file names its columns; where that cannot be told, it is refused."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.errors import UserError

LABEL = "label"
MISSING = frozenset(("", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "nat", "?", "-", "."))
"""What programs write for a missing value, in lower case."""

_RARE = 0.01
_FEWEST = 3


class CsvRows(NamedTuple):
    """The first row, and what stands below it.

    Attributes:
        first: The cells of the first row.
        numeric: Which columns hold numbers below it, most of them at least.
        below: `(rows, columns)` a sample of the rows below; NaN where no number is.
        repeated: Whether the last cell of the first row stands below it, too, as a class does.
    """

    first: list[str]
    numeric: list[bool]
    below: NDArray[np.float64]
    repeated: bool


def has_header(rows: CsvRows, *, path: Path) -> bool:
    """Tells a header from an example: names over numbers, or numbers unlike those of examples.

    Raises:
        UserError: It may be either.
    """
    first = rows.first
    if any(cell.lower() == LABEL for cell in first):
        return True
    values = [_number(cell) for cell in first]
    names = [
        value is None and cell.lower() not in MISSING
        for value, cell in zip(values, first, strict=True)
    ]
    if any(names) and all(name or cell == "" for name, cell in zip(names, first, strict=True)):
        return True
    over_numbers = [name and below for name, below in zip(names, rows.numeric, strict=True)]
    if over_numbers[-1]:
        return True  # 0, 1, ..., target: no class is called so where all others are numbers
    if any(over_numbers):
        raise _either(first, path)
    if not rows.numeric[-1] and not rows.repeated and first[-1].lower() not in MISSING:
        # Numbers, and a word that is no class of any other row.
        if not _counts(values[:-1]):
            raise _either(first, path)
        return True
    known = np.array([value for value in values if value is not None])
    if len(known) == len(values) and len(rows.below) and _is_unlike(known, rows.below):
        raise _either(first, path)
    return False


def _number(cell: str) -> float | None:
    try:
        return float(cell) if cell.lower() not in MISSING else None
    except ValueError:
        return None


def _counts(values: list[float | None]) -> bool:
    """Returns whether they are 0, 1, 2, ... or 1, 2, 3, ..., as pandas and R name columns."""
    return len(values) > 1 and any(values == list(range(k, k + len(values))) for k in (0, 1))


def _is_unlike(values: NDArray[np.float64], below: NDArray[np.float64]) -> bool:
    """Returns whether the features are whole, or increase, where they seldom do below.

    Seldom is in less than one row of a hundred, so that no more than one example in fifty is taken
    for something else, whatever the features are. With one or two features the label counts, too.
    """
    used = slice(None) if len(values) <= _FEWEST else slice(-1)
    kinds = _kinds(values[None, used])[0]
    return bool((kinds & (_kinds(below[:, used]).mean(axis=0) < _RARE)).any())


def _kinds(rows: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns `(rows, 2)`: all numbers are whole, and they increase from column to column."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.stack(
            [(rows == np.rint(rows)).all(axis=1), (np.diff(rows, axis=1) > 0).all(axis=1)], axis=1
        )


def _either(first: list[str], path: Path) -> UserError:
    shown = ", ".join(cell[:20] for cell in first[:6]) + (", ..." if len(first) > 6 else "")
    return UserError(
        f"{path}: the first row, {shown}, may name the columns, and may be an example",
        next_step="write a header with a name for every column, the label's being 'label'",
    )
