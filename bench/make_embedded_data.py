"""Makes dpbench/data/embedded/*.npz from the published files in DPBENCH_DATA.

    DPBENCH_DATA=<folder> python bench/make_embedded_data.py

Deterministic: the same zlib gives the same bytes, and any zlib the same arrays.
"""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dpbench.data.adult import Adult
from dpbench.data.base import Array, Dataset
from dpbench.data.fashion_mnist import FashionMnistFull
from dpbench.data.letter import Letter
from dpbench.data.published import data_folder
from dpbench.data.splitting import first_occurrences
from dpbench.seeds import rng_for

TARGET = Path(__file__).parents[1] / "dpbench" / "data" / "embedded"
NUMERIC = [0, 2, 4, 10, 11, 12]
CATEGORICAL = [1, 3, 5, 6, 7, 8, 9, 13]


def fashion_mnist() -> dict[str, Array]:
    """Draws 1,000 + 500 distinct images of each class from the official parts."""
    raw = FashionMnistFull().load(data_folder())
    inputs = np.concatenate([raw.train_x, raw.test_x])[:, 0]
    labels = np.concatenate([raw.train_y, raw.test_y]).astype(np.uint8)
    distinct = first_occurrences(inputs)
    parts = {"train": distinct < len(raw.train_y), "test": distinct >= len(raw.train_y)}
    arrays: dict[str, Array] = {}
    for (part, mask), per_class in zip(parts.items(), (1000, 500), strict=True):
        chosen = _balanced(labels, distinct[mask], per_class, part)
        arrays |= {f"{part}_x": inputs[chosen], f"{part}_y": labels[chosen]}
    return arrays


def _balanced(labels: Array, candidates: Array, per_class: int, part: str) -> Array:
    order = rng_for(0, "embedded", "fashion_mnist", part).permutation(candidates)
    picks = [order[labels[order] == label][:per_class] for label in range(10)]
    return np.sort(np.concatenate(picks))


def letter() -> dict[str, Array]:
    """Keeps all 20,000 rows: 16 features of 0..15, labels A..Z as 0..25."""
    rows = [line.split(",") for line in _text(Letter(), 0).split()]
    features = np.array([row[1:] for row in rows], dtype=np.uint8)
    return {"x": features, "y": np.array([ord(row[0]) - ord("A") for row in rows], np.uint8)}


def adult() -> dict[str, Array]:
    """Keeps all rows: numbers, category codes, and the categories' names in sorted order."""
    parts = {"train": _adult_rows(0), "test": _adult_rows(1)}
    everything = np.concatenate(list(parts.values()))
    names = [np.unique(everything[:, column]) for column in CATEGORICAL]
    arrays: dict[str, Array] = {f"categories_{i}": values for i, values in enumerate(names)}
    for part, table in parts.items():
        pairs = zip(names, CATEGORICAL, strict=True)
        codes = [np.searchsorted(values, table[:, column]) for values, column in pairs]
        arrays[f"{part}_numbers"] = table[:, NUMERIC].astype(np.int32)
        arrays[f"{part}_codes"] = np.stack(codes, axis=1).astype(np.uint8)
        arrays[f"{part}_y"] = np.char.startswith(table[:, 14], ">").astype(np.uint8)
    return arrays


def _adult_rows(number: int) -> Array:
    lines = [line for line in _text(Adult(), number).splitlines() if line.count(",") == 14]
    return np.array([[cell.strip() for cell in line.split(",")] for line in lines])


def _text(dataset: Dataset, number: int) -> str:
    file = dataset.files[number]
    return file.read(data_folder(), dataset=dataset.name, source=dataset.source).decode("ascii")


def main() -> None:
    """Writes each set and the digests by which it is checked at every load."""
    makers: list[Callable[[], dict[str, Array]]] = [adult, fashion_mnist, letter]
    digests = {}
    for maker in makers:
        path = TARGET / f"{maker.__name__}.npz"
        np.savez_compressed(path, **maker())  # type: ignore[arg-type]
        digests[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path.name}: {path.stat().st_size:,} bytes, sha256 {digests[path.name]}")
    (TARGET / "digests.json").write_text(json.dumps(digests, indent=2) + "\n")


if __name__ == "__main__":
    main()
