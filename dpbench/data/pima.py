"""Pima Indians diabetes."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dpbench.component import register
from dpbench.data.base import Dataset, RawData, no_bits
from dpbench.errors import UserError

_PATHS = ("uci/pima-indians-diabetes.csv", "pima-indians-diabetes.csv")
_LABELS = {"neg": 0, "0": 0, "pos": 1, "1": 1}


@register
@dataclass(frozen=True, kw_only=True)
class Pima(Dataset):
    """Diabetes within five years, 768 rows, 8 continuous columns. [Smith et al. 1988].

    Copies differ in header, number format and label spelling, so there is no digest to check:
    the counts of rows (768) and positives (268) are checked instead.
    """

    licence: ClassVar[str] = "unclear"
    source: ClassVar[str] = "https://www.openml.org/d/37"

    def load(self, data_dir: Path) -> RawData:
        """Returns the table of a CSV with the label last, with or without a header."""
        path = next((data_dir / name for name in _PATHS if (data_dir / name).is_file()), None)
        if path is None:
            raise UserError(
                f"{self.name}: {_PATHS[0]} is not in the data folder {data_dir}",
                allowed=f"{' or '.join(_PATHS)}: 768 rows of 8 numbers and the label",
                next_step=f"get it from {self.source} and name its folder by --data-dir or "
                "DPBENCH_DATA",
            )
        rows = [line.split(",") for line in path.read_text("utf-8", "replace").split()]
        rows = [row for row in rows if row[-1] in _LABELS]
        labels = np.array([_LABELS[row[-1]] for row in rows], dtype=np.int64)
        if len(rows) != 768 or labels.sum() != 268 or any(len(row) != 9 for row in rows):
            raise UserError(
                f"{path}: not the Pima data: {len(rows)} labelled rows, {labels.sum()} positive",
                allowed="768 rows of 8 numbers and a label (neg/pos or 0/1), 268 of them positive",
            )
        return RawData(
            train_x=np.array([row[:8] for row in rows], dtype=np.float64),
            train_y=labels,
            test_x=None,
            test_y=None,
            n_classes=2,
            is_image=False,
            binary=no_bits((8,)),
        )
