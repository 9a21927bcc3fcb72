"""Populations of raw arrays that a test makes up, and the folder of real data, if there is one."""

import dataclasses
import os
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import numpy as np

from dpbench.component import REGISTRIES
from dpbench.data import Dataset, PopulationSpec, RawData, load_population


def population_of(raw, *, seed=0, **spec):
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Given(Dataset):
        name: ClassVar[str] = "given"

        def load(self, data_dir):
            return raw

    with patch.dict(REGISTRIES["dataset"], {"given": Given}):
        parsed = PopulationSpec.parse({"dataset": "given", **spec}, where="population")
        return load_population(parsed, seed=seed, data_dir=None)


def table(n=120, *, bits=2, numbers=3, n_classes=3, n_test=0, seed=0):
    """Raw columns: continuous ones first, then bits."""
    rng = np.random.default_rng(seed)

    def part(size):
        columns = [rng.normal(5, 3, (size, numbers)), rng.integers(2, size=(size, bits))]
        return np.concatenate(columns, axis=1), rng.integers(n_classes, size=size)

    return RawData(
        *part(n),
        *(part(n_test) if n_test else (None, None)),
        n_classes=n_classes,
        is_image=False,
        binary=np.arange(numbers + bits) >= numbers,
    )


def images(n=120, *, side=4, channels=1, n_classes=3, n_test=30, seed=0):
    rng = np.random.default_rng(seed)

    def part(size):
        shape = (size, channels, side, side)
        return rng.integers(256, size=shape).astype(np.uint8), rng.integers(n_classes, size=size)

    return RawData(
        *part(n),
        *part(n_test),
        n_classes=n_classes,
        is_image=True,
        binary=np.zeros((channels, side, side), dtype=bool),
    )


def real_data() -> Path | None:
    """The folder of downloaded sets, if this machine has one."""
    default = Path(__file__).parents[2].parent / "shared" / "data"
    folder = Path(os.environ.get("DPBENCH_DATA", default))
    return folder if folder.is_dir() else None
