"""Score files that are wrong on purpose, and the faults of any .npz."""

import io
import struct
import zipfile
from typing import Any

import numpy as np

Rng = np.random.Generator


def score_bytes(rng: Rng) -> bytes:
    """Returns a score file with a few faults."""
    shape = [(6,), (4, 5), (6,), (4, 5), (0,), (), (2, 2, 2), (1,), (7,)][rng.integers(9)]
    arrays: dict[str, Any] = {
        "scores": rng.standard_normal(shape),
        "members": rng.random(shape) < 0.5,
        "delta": np.float64(1e-5),
    }
    for _ in range(rng.integers(0, 3)):
        spoil(arrays, rng)
    content = bytearray(archive(arrays, rng, lies=0.15))
    for _ in range(rng.integers(0, 4) * (rng.random() < 0.5)):
        if content and rng.random() < 0.5:
            content[rng.integers(len(content))] = rng.integers(256)
    if rng.random() < 0.1:
        del content[rng.integers(len(content) + 1) :]
    return bytes(content)


def archive(arrays: dict[str, Any], rng: Rng, *, lies: float) -> bytes:
    """Returns the .npz of arrays, this share of them with a header that lies."""
    files = {f"{name}.npy": npy(value) for name, value in arrays.items()}
    for name in files:
        if rng.random() < lies:
            files[name] = spoil_header(files[name], rng)
    return packed(files, rng)


def spoil(arrays: dict[str, Any], rng: Rng) -> None:
    name = str(rng.choice(list(arrays)))
    value = np.asarray(arrays[name])
    if value.dtype.kind not in "fiub":
        return
    with np.errstate(all="ignore"):
        arrays[name] = [
            np.full(value.shape, np.nan),
            np.full(value.shape, rng.choice([np.inf, -np.inf, 1e308, -0.0])),
            np.array([{}, print], dtype=object),
            value.astype("U3"),
            value.astype(np.complex64),
            np.zeros(3, dtype="datetime64[s]"),
            np.zeros(3, dtype=[("a", "f8"), ("b", "i4")]),
            value.astype(rng.choice(["i1", "u8", "f2", "f4", ">f8", "g", "?"])),
            np.zeros((3, 0)),
            rng.integers(-3, 300, size=value.shape),
            value.ravel()[:-1],
            np.zeros(5, dtype="S0"),
        ][rng.integers(12)]


def npy(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(value), allow_pickle=True)
    return buffer.getvalue()


def spoil_header(content: bytes, rng: Rng) -> bytes:
    """Returns an array whose header lies."""
    shape = str(
        rng.choice(
            ["(10**12,)", "(99999999999999999999,)", "(-6,)", "(-2, -3)", "(6, )", "(1e3,)", "6",
             "(6,) * 9", "('x',)", "(1000000000,)", "(0, 9999999999999)", "(True,)", "(" * 200]
        )
    )  # fmt: skip
    dtype = str(rng.choice(["'<f8'", "'|O'", "'<U0'", "'|V0'", "'<f99'", "[]", "()", "'<U999999'"]))
    order = str(rng.choice(["False", "True", "2", "x"]))
    header = f"{{'descr': {dtype}, 'fortran_order': {order}, 'shape': {shape}, }}"
    if rng.random() < 0.2:
        header = header.ljust(int(rng.choice([5_000, 20_000, 60_000])))
    text = header.encode() + b"\n"
    version = bytes([int(rng.choice([1, 1, 1, 2, 3, 9])), 0])
    length = (
        struct.pack("<H", len(text) % 65536) if version[0] == 1 else struct.pack("<I", len(text))
    )
    return b"\x93NUMPY" + version + length + text + content[-48:]


def packed(files: dict[str, bytes], rng: Rng) -> bytes:
    buffer = io.BytesIO()
    method = int(rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if rng.random() < 0.05:
            archive.writestr("../../evil", b"x")
    content = buffer.getvalue()
    if rng.random() < 0.15:  # members that lie about their size or method, in the directory
        place = content.find(b"PK\x01\x02")
        field = [10, 20, 24][rng.integers(3)]
        lie = struct.pack("<I", int(rng.choice([0, 1, 99, 2**31, 2**32 - 2])))
        content = content[: place + field] + lie + content[place + field + 4 :]
    return content
