"""Files that are wrong on purpose: each must load, or be refused with a message, never a traceback.

    python -m bench.hostile --cases 10000

Cases are seeded: a failure names the number that makes it again.
"""

import argparse
import io
import json
import struct
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from dpbench.errors import UserError
from dpbench.grid.spec import read_grids
from dpbench.privacy.score_file import ScoreFile
from dpbench.seeds import rng_for

Rng = np.random.Generator

GRID = """\
name: tiny
population: {dataset: letter, pool: 150, test: 200, reference: 150}
model: {name: mlp, hidden: [16]}
recipe: {epochs: 10, batch_size: 16, lr: 0.1}
models: 8
seed: 0
defenses:
  - none
  - {dp_sgd: {epsilon: [1, .inf], delta: 1e-5}}
  - [{l2: {weight_decay: 0.1}}, label_only]
attacks: [gap, malt, {lira: {mode: [online, offline]}}]
"""
# What replaces a scalar, or goes anywhere: sizes, types, tags, markup, separators, control bytes.
TOKENS = (
    ".nan", "-.inf", ".inf", "1e999", "-1", "0", "9" * 30, "9" * 5000, "0x" + "f" * 40, "1:2:3",
    "1_000", "null", "true", "[]", "{}", "[[]]", "{a: {b: [c]}}", "[" * 300, "{" * 300, "''",
    "'../../etc/passwd'", "'a/b'", "'[bold]x[/bold]'", "'[/red]'", "'<script>'", "'%s{0}'",
    "'" + "x" * 5000 + "'", "'é☃'", r'"\ud800"', r'"\0"', "!!python/object:os.system x",
    "!!int x", "!!float x", "!!bool maybe", "!!timestamp x", "!!timestamp 2024-01-01", "!!set {a}",
    "!!binary x", "!!binary aGk=", "!!omap [a: 1]", "!!null 1", "!x y", "&a [1]", "*a",
    "<<: {a: 1}", "? [1]\n: 2", "- - -", ": :", "|\n x", "%YAML 9.9", "---", "...", "\t", "\0",
    "\x85", "\ufeff", "[0.5, 1, 2]", "[" + "1, " * 2000 + "1]", "2024-01-01", "=", "~", "@", "`",
    "#", "\\", "all", "{all_but: [gap]}", "none", "label_only", "canaries: {kind: x}",
    "plugins: ['/dev/null']",
)  # fmt: skip


def grid_text(rng: Rng) -> str:
    """Returns a grid with a few faults."""
    text = GRID
    for _ in range(rng.integers(1, 4)):
        text = _FAULTS[rng.integers(len(_FAULTS))](text, rng)
    return text


def _replace_scalar(text: str, rng: Rng) -> str:
    words = [word.strip("[]{},:-") for word in text.split()]
    word = str(rng.choice([word for word in words if word] or ["x"]))
    places = [i for i in range(len(text)) if text.startswith(word, i)]
    place = int(rng.choice(places)) if places else 0
    return text[:place] + _token(rng) + text[place + len(word) :]


def _other_number(text: str, rng: Rng) -> str:
    places = [i for i, letter in enumerate(text) if letter in "123456789"]
    if not places:
        return text
    place = int(rng.choice(places))
    return text[:place] + str(rng.integers(1, 10)) + text[place + 1 :]


def _insert(text: str, rng: Rng) -> str:
    place = rng.integers(len(text) + 1)
    return text[:place] + _token(rng) + text[place:]


def _repeat_line(text: str, rng: Rng) -> str:
    lines = text.splitlines() or [""]
    line, place = rng.integers(len(lines)), rng.integers(len(lines) + 1)
    return "\n".join([*lines[:place], *[lines[line]] * int(rng.integers(1, 4)), *lines[place:]])


def _cut(text: str, rng: Rng) -> str:
    first, last = sorted(rng.integers(len(text) + 1, size=2))
    return text[:first] + text[min(last, first + 40) :]


def _flip(text: str, rng: Rng) -> str:
    letters = list(text or " ")
    letters[rng.integers(len(letters))] = chr(rng.integers(1, 0x3000))
    return "".join(letters)


def _sweep(text: str, rng: Rng) -> str:
    values = ", ".join(str(i) for i in range(int(rng.choice([2, 3000]))))
    return text.replace("delta: 1e-5", f"delta: [{values}], noise_multiplier: [{values}]", 1)


def _token(rng: Rng) -> str:
    return TOKENS[rng.integers(len(TOKENS))]


_FAULTS = (
    _replace_scalar, _replace_scalar, _other_number, _other_number, _insert, _repeat_line, _cut,
    _flip, _sweep,
)  # fmt: skip


def score_bytes(rng: Rng) -> bytes:
    """Returns a score file with a few faults."""
    shape = [(6,), (4, 5), (0,), (), (2, 2, 2), (1,), (7,)][rng.integers(7)]
    arrays: dict[str, Any] = {
        "scores": rng.standard_normal(shape),
        "members": rng.random(shape) < 0.5,
        "delta": np.float64(1e-5),
    }
    for _ in range(rng.integers(0, 3)):
        _spoil(arrays, rng)
    files = {f"{name}.npy": _npy(value) for name, value in arrays.items()}
    for name in files:
        if rng.random() < 0.15:
            files[name] = _spoil_header(files[name], rng)
    content = bytearray(_zip(files, rng))
    for _ in range(rng.integers(0, 4)):
        if content and rng.random() < 0.5:
            content[rng.integers(len(content))] = rng.integers(256)
    if rng.random() < 0.1:
        del content[rng.integers(len(content) + 1) :]
    return bytes(content)


def _spoil(arrays: dict[str, Any], rng: Rng) -> None:
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


def _npy(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(value), allow_pickle=True)
    return buffer.getvalue()


def _spoil_header(content: bytes, rng: Rng) -> bytes:
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


def _zip(files: dict[str, bytes], rng: Rng) -> bytes:
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


def try_grid(number: int, folder: Path) -> str:
    """Reads a wrong grid; returns what came of it."""
    path = folder / "grid.yaml"
    text = grid_text(rng_for(number, "hostile grid"))
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return _outcome(lambda: read_grids(path))


def try_scores(number: int, folder: Path) -> str:
    """Reads a wrong score file; returns what came of it."""
    path = folder / "scores.npz"
    path.write_bytes(score_bytes(rng_for(number, "hostile scores")))
    return _outcome(lambda: ScoreFile.read(path))


def _outcome(read: Callable[[], object]) -> str:
    try:
        read()
    except UserError as error:
        str(error).encode()  # it can be printed
        return "refused"
    return "loaded"


def main() -> None:
    """Tries many cases of both kinds; exits with 1 if any ends otherwise, or takes long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--longest", type=float, default=10.0, help="processor seconds for a case")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        for attempt in (try_grid, try_scores):
            found: Counter[str] = Counter()
            for number in range(arguments.first, arguments.first + arguments.cases):
                started = time.process_time()
                try:
                    found[attempt(number, Path(name))] += 1
                except Exception as error:
                    failed += 1
                    print(f"{attempt.__name__} {number}: {type(error).__name__}: {error}"[:300])
                if time.process_time() - started > arguments.longest:
                    failed += 1
                    print(f"{attempt.__name__} {number}: too slow")
            print(f"{attempt.__name__}: {json.dumps(found)}", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
