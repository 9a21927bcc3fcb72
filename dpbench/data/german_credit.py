"""Statlog German credit."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dpbench.component import register
from dpbench.data.base import Dataset, RawData
from dpbench.data.one_hot import encode
from dpbench.data.published import PublishedFile

_CONTINUOUS = [1, 4, 7, 10, 12, 15, 17]
_CATEGORICAL = [0, 2, 3, 5, 6, 8, 9, 11, 13, 14, 16, 18, 19]


@register
@dataclass(frozen=True, kw_only=True)
class GermanCredit(Dataset):
    """Good or bad credit risk, 1,000 rows, 7 continuous and 13 categorical columns. [Hofmann 1994].

    A small set for plumbing and negative controls; categories become bits.
    """

    licence: ClassVar[str] = "CC BY 4.0"
    source: ClassVar[str] = "https://doi.org/10.24432/C5NC77"
    files: ClassVar[tuple[PublishedFile, ...]] = (
        PublishedFile(
            paths=("uci/german.data", "german.data"),
            digest="sha256:b21f3d81db8071257d5ff1deaeba1fd4303b62712e6fcc9715c7a86202cb5871",
            url="https://archive.ics.uci.edu/ml/machine-learning-databases/statlog/german/german.data",
        ),
    )

    def load(self, data_dir: Path) -> RawData:
        """Returns the table, categories as bits."""
        content = self.files[0].read(data_dir, dataset=self.name, source=self.source)
        table = np.array([line.split() for line in content.decode("ascii").splitlines()])
        # The file is fixed by its digest, so the categories it lists are the set's declaration.
        pairs = [np.unique(table[:, column], return_inverse=True) for column in _CATEGORICAL]
        encoded = encode(
            table[:, _CONTINUOUS].astype(np.float64),
            np.stack([codes for _, codes in pairs], axis=1),
            [len(values) for values, _ in pairs],
        )
        return RawData(
            train_x=encoded.columns,
            train_y=table[:, 20].astype(np.int64) - 1,
            test_x=None,
            test_y=None,
            n_classes=2,
            is_image=False,
            binary=encoded.binary,
        )
