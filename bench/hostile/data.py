"""A user's data files, and archives of data sets, that are wrong on purpose."""

import io
import tarfile
from typing import Any

import numpy as np

from bench.hostile.arrays import archive, spoil

Rng = np.random.Generator

MEMBER = "folder/table"
"""What is looked for in an archive."""

CELLS = (
    "", " ", "nan", "-inf", "1e999", "1e308", "-1e308", "1e-320", "0x10", "1_000", "1,5", '"', '""',
    '"a', "'", "label", "[bold]x[/bold]", "[/red]", "<script>alert(1)</script>", "=cmd|x", "%s{0}",
    "../../etc/passwd", "a" * 5000, "9" * 5000, "é☃", "\0", "\r", "\n", "\x1b[2J", "\ufeff", ",",
    ";", "\t", "# x", "True", "None", "1.0", "-0", "0", "1", "2", "3.5", "\x85", "\u2028",
)  # fmt: skip
BYTES = (b"", b"\0", b"\xff\xfe", b"\xed\xa0\x80", b"\n" * 50, b"," * 3000, b'"', b"\x80", b"\r\r")


def data_bytes(rng: Rng) -> tuple[bytes, str]:
    """Returns a data file with a few faults, and the ending of its name."""
    return (_npz(rng), ".npz") if rng.random() < 0.5 else (_csv(rng), ".csv")


def _npz(rng: Rng) -> bytes:
    count = int(rng.integers(60, 120))
    shape = [(3,), (3,), (4, 4), (1, 4, 4), (3, 4, 4), (4, 4, 3), (0,), ()][rng.integers(8)]
    inputs = rng.random((count, *shape))
    labels = rng.integers(3, size=count)
    arrays: dict[str, Any] = {"x": inputs, "y": labels}
    if rng.random() < 0.2:
        arrays["x"] = rng.integers(256, size=inputs.shape, dtype=np.uint8)
    if rng.random() < 0.2:
        arrays["binary"] = rng.random(shape) < 0.5
    if rng.random() < 0.2:
        arrays["y"] = np.array(["[red]a", "<b>", "c/../d"])[labels]
    if rng.random() < 0.1:
        arrays["y"] = np.eye(3)[labels]
    for _ in range(rng.integers(0, 2)):
        spoil(arrays, rng)
    for _ in range(rng.integers(0, 3)):
        _spoil_places(arrays, rng)
    content = bytearray(archive(arrays, rng, lies=0.05))
    if rng.random() < 0.2:
        content[rng.integers(len(content))] = rng.integers(256)
    if rng.random() < 0.05:
        del content[rng.integers(len(content)) :]
    return bytes(content)


def _spoil_places(arrays: dict[str, Any], rng: Rng) -> None:
    """Puts an extreme value into a few places of an array, or makes a column of it."""
    name = str(rng.choice(list(arrays)))
    value = np.array(arrays[name])
    if value.dtype.kind != "f" or value.size == 0:
        return
    extreme = rng.choice([np.nan, np.inf, 1e308, -1e308, 3e38, 1e-320, -0.0, 1e30])
    places = rng.integers(value.size, size=int(rng.integers(1, 4)))
    with np.errstate(over="ignore"):  # in 16 and 32 bits these are infinite
        if rng.random() < 0.3:
            value[..., -1] = extreme
        else:
            value.ravel()[places] = extreme
    arrays[name] = value


def _csv(rng: Rng) -> bytes:
    count, width = int(rng.integers(60, 100)), int(rng.integers(1, 5))
    numbers = rng.standard_normal((count, width)).round(3)
    labels = rng.integers(3, size=count)
    if rng.random() < 0.3:
        numbers = (numbers > 0).astype(float)
    rows = [[*map(str, row), str(label)] for row, label in zip(numbers, labels, strict=True)]
    if rng.random() < 0.5:
        names = [f"c{number}" for number in range(width)] + ["label"]
        rows.insert(0, [str(name) for name in rng.permutation(names)])
    for _ in range(rng.integers(0, 4)):
        row = rows[rng.integers(len(rows))]
        if not row:
            continue
        place = int(rng.integers(len(row)))
        fault = rng.integers(4)
        if fault == 0:
            del row[place]
        elif fault == 1:
            row.insert(place, _cell(rng))
        else:
            row[place] = _cell(rng)
    content = bytearray("\n".join(",".join(row) for row in rows).encode(errors="surrogatepass"))
    if rng.random() < 0.1:
        place = int(rng.integers(len(content) + 1))
        content[place:place] = BYTES[rng.integers(len(BYTES))]
    return bytes(content)


def _cell(rng: Rng) -> str:
    return CELLS[rng.integers(len(CELLS))]


def archive_bytes(rng: Rng) -> bytes:
    """Returns a .tgz whose members are links, devices, or named to lie outside."""
    buffer = io.BytesIO()
    form = int(rng.choice([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]))
    with tarfile.open(fileobj=buffer, mode="w:gz", format=form) as archive:
        for _ in range(rng.integers(0, 4)):
            _add(archive, rng)
    content = bytearray(buffer.getvalue())
    for _ in range(rng.integers(0, 3)):
        if rng.random() < 0.5:
            content[rng.integers(len(content))] = rng.integers(256)
    if rng.random() < 0.1:
        del content[rng.integers(len(content)) :]
    return bytes(content)


def _add(archive: tarfile.TarFile, rng: Rng) -> None:
    names = [MEMBER, MEMBER, f"./{MEMBER}", f"../{MEMBER}", f"/{MEMBER}", "../../evil", "/etc/evil"]
    kinds = [
        tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE,
        tarfile.FIFOTYPE, tarfile.DIRTYPE, tarfile.GNUTYPE_SPARSE,
    ]  # fmt: skip
    info = tarfile.TarInfo(str(rng.choice(names)))
    info.type = kinds[rng.integers(len(kinds))]
    info.linkname = str(rng.choice(["/etc/passwd", "../../../etc/passwd", MEMBER, "nowhere"]))
    content = b"1,0,1\n" * int(rng.integers(4))
    info.size = len(content) if info.isreg() else 0
    archive.addfile(info, io.BytesIO(content))
