"""The cells of a separated text file, as text: its encoding and its separator are found out."""

import codecs
import csv
import io
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from dpbench import npz
from dpbench.errors import UserError

NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
DECIMAL_COMMA = r"^[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?$"
THOUSANDS = r"^[+-]?[1-9][0-9]{0,2}([.,' ][0-9]{3})+([.,][0-9]+)?$"

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "pipes"}

_SAMPLE_ROWS = 200
_SAMPLE_CHARACTERS = 2**20
_LONGEST_ROW = 2**26
# The mark of UTF-32 begins with that of UTF-16, so it is tried before.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Cells(NamedTuple):
    """A file without its meaning.

    Attributes:
        columns: Texts without surrounding spaces, the first row included.
        separator: One of `SEPARATORS`.
        decimal: The decimal mark that was found: "." or ",". Columns hold "." in any case.
    """

    columns: list[Any]
    separator: str
    decimal: str

    @property
    def first(self) -> list[str]:
        """The first row, a header or not."""
        return [column[0].as_py() for column in self.columns]


def matches(column: Any, pattern: str) -> Any:
    """Returns which cells match, as a NumPy array of bool."""
    return pc.match_substring_regex(column, pattern).to_numpy(zero_copy_only=False)


def read_cells(path: Path) -> Cells:
    """Reads all cells as text.

    Raises:
        UserError: It is too large, in another encoding, its rows differ in length, or its
            separator or its decimal mark can be read in two ways.
    """
    if path.stat().st_size > npz.MAX_BYTES:
        raise UserError(
            f"{path}: {path.stat().st_size:,} bytes", allowed=f"at most {npz.MAX_BYTES:,}"
        )
    text = _text(path)
    first_line = text[:20].splitlines()[:1]
    if first_line and first_line[0].lower().startswith("sep=") and len(first_line[0]) == 5:
        text = text[5:].lstrip("\r\n")  # Excel's line that names the separator
    samples = {separator: _sample(text, separator) for separator in SEPARATORS}
    separator = _separator(samples, path=path)
    columns = _columns(text, separator, width=len(samples[separator][0]), path=path)
    return _with_points(columns, separator, path=path)


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read as .csv: {error}") from None
    encoding = next((name for mark, name in _MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(
            f"{path}: cannot be read as .csv: line {line}: byte 0x{content[error.start]:02x} "
            f"is not {encoding.upper()}",
            next_step="save it as UTF-8, for example by `iconv -f latin1 -t utf-8`",
        ) from None
    if "\0" in text:
        raise UserError(f"{path}: cannot be read as .csv: it holds NUL characters", allowed="text")
    return text


def _sample(text: str, separator: str) -> list[list[str]]:
    """Returns the first rows, or none if they cannot be cut by a separator."""
    head = io.StringIO(text[:_SAMPLE_CHARACTERS], newline="")
    rows: list[list[str]] = []
    try:
        for row in csv.reader(head, delimiter=separator):
            if row:
                rows.append(row)
            if len(rows) > _SAMPLE_ROWS:
                break
    except csv.Error:
        return []
    cut_off = len(rows) > 1 and len(text) > _SAMPLE_CHARACTERS
    return rows[:-1] if cut_off else rows


def _separator(samples: dict[str, list[list[str]]], *, path: Path) -> str:
    """Returns the separator that cuts most rows alike, and into most numbers.

    In `1,5;2,5` both commas and semicolons cut every row alike; only between semicolons do numbers
    remain.
    """
    marks = {mark: _fitness(rows, mark) for mark, rows in samples.items()}
    best = max(marks.values())
    if best == 0:
        raise _one_column(samples[","], path=path)
    found = [mark for mark, fitness in marks.items() if fitness == best]
    if len(found) > 1:
        raise UserError(
            f"{path}: may be separated by {' or by '.join(SEPARATORS[mark] for mark in found)}",
            next_step="write it with one of them alone, or put cells that hold one into quotes",
        )
    return found[0]


def _fitness(rows: list[list[str]], separator: str) -> float:
    widths = Counter(len(row) for row in rows)
    width, count = widths.most_common(1)[0] if rows else (0, 0)
    if width < 2:
        return 0.0
    cells = pa.array([cell.strip() for row in rows for cell in row])
    numbers = matches(cells, NUMBER)
    if separator != ",":
        numbers |= matches(cells, DECIMAL_COMMA)
    return count / len(rows) * (1 + float(numbers.mean()))


def _one_column(rows: list[list[str]], *, path: Path) -> UserError:
    width = min(1, len(rows))
    spaces = len({len(row[0].split()) for row in rows}) == 1 and len(rows[0][0].split()) > 1
    return UserError(
        f"{path}: {len(rows)} rows of {width} columns",
        allowed="2 columns or more, separated by commas, semicolons, tabs or pipes",
        next_step="write commas for the spaces" if spaces else "",
    )


def _columns(text: str, separator: str, *, width: int, path: Path) -> list[Any]:
    names = [str(number) for number in range(width)]
    ragged: list[Any] = []

    def refuse(row: Any) -> str:
        ragged.append(row)
        return "error"

    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text.encode()),
            # One thread, so that rows that are refused have numbers.
            read_options=arrow_csv.ReadOptions(
                column_names=names, use_threads=False, block_size=_LONGEST_ROW
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator, newlines_in_values=True, invalid_row_handler=refuse
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.large_string()), null_values=[]
            ),
        )
    except pa.ArrowException as error:
        if ragged:
            raise _ragged(ragged[0], path=path) from None
        raise UserError(f"{path}: cannot be read as .csv: {error}") from None
    whole = [column.combine_chunks() for column in table.columns]
    return [pc.utf8_trim_whitespace(column) for column in whole]


def _ragged(row: Any, *, path: Path) -> UserError:
    row_names = row.number == 2 and row.actual_columns == row.expected_columns + 1
    return UserError(
        f"{path}: row {row.number} has {row.actual_columns} fields (a header counts as row 1)",
        allowed=f"{row.expected_columns}, as in row 1",
        next_step="write it without row names: index=False in pandas, row.names=FALSE in R"
        if row_names
        else "look for a separator or a quotation mark too many",
    )


def _with_points(columns: list[Any], separator: str, *, path: Path) -> Cells:
    """Turns decimal commas into points, where commas are nothing else.

    Raises:
        UserError: A mark may be a decimal mark or separate thousands, or there are two.
    """
    if separator == ",":
        return Cells(columns, separator, ".")
    commas = [matches(column, DECIMAL_COMMA) for column in columns]
    mark = "," if any(found.any() for found in commas) else "."
    pattern = DECIMAL_COMMA if mark == "," else r"^[+-]?[0-9]*\.[0-9]+$"
    marked = [column.filter(pa.array(matches(column, pattern))) for column in columns]
    thousands = all(matches(cells, THOUSANDS).all() for cells in marked)
    example = next((cells[0].as_py() for cells in marked if len(cells)), "")
    # Tabs and pipes are written where points are decimal marks; semicolons where commas are.
    if example and thousands and (mark == "," or separator == ";"):
        raise UserError(
            f"{path}: '{example}' may be a decimal number or one with thousands set apart, "
            f"as may every other number with a '{mark}'",
            next_step="write numbers without thousands separators, with decimal points and commas "
            "between cells",
        )
    if mark == ".":
        return Cells(columns, separator, mark)
    points = pa.chunked_array(
        [column.filter(pa.array(matches(column, r"^[+-]?[0-9]*\.[0-9]+$"))) for column in columns]
    )
    if len(points):
        raise UserError(
            f"{path}: has decimal commas ('{example}') and decimal points ('{points[0].as_py()}')",
            next_step="write all numbers with decimal points",
        )
    turned = [
        pc.if_else(pa.array(found), pc.replace_substring(column, ",", "."), column)
        for column, found in zip(columns, commas, strict=True)
    ]
    return Cells(turned, separator, mark)
