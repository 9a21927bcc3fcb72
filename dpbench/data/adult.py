"""Adult (census income)."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dpbench.component import register
from dpbench.data.base import Array, Dataset, RawData
from dpbench.data.embedded import read_embedded
from dpbench.data.one_hot import Encoded, encode
from dpbench.data.published import PublishedFile


@register
@dataclass(frozen=True, kw_only=True)
class Adult(Dataset):
    """Does a person earn over 50,000 dollars? 32,561 + 16,281 rows. [Becker & Kohavi 1996].

    Six continuous columns, then eight categorical ones as bits, 108 features in all. A missing
    category (`?`) is a category of its own. Of rows equal in all features but not in the label, the
    first is kept, as of any duplicates.
    """

    licence: ClassVar[str] = "CC BY 4.0"
    source: ClassVar[str] = "https://doi.org/10.24432/C5XW20"
    embedded: ClassVar[bool] = True
    files: ClassVar[tuple[PublishedFile, ...]] = (
        PublishedFile(
            paths=("uci/adult.data",),
            digest="sha256:5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        ),
        PublishedFile(
            paths=("uci/adult.test",),
            digest="sha256:a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
        ),
    )

    def load(self, data_dir: Path) -> RawData:
        """Returns the embedded table, categories as bits."""
        del data_dir
        arrays = read_embedded("adult")
        train, test = _features(arrays, "train"), _features(arrays, "test")
        return RawData(
            train_x=train.columns,
            train_y=arrays["train_y"].astype(np.int64),
            test_x=test.columns,
            test_y=arrays["test_y"].astype(np.int64),
            n_classes=2,
            is_image=False,
            binary=train.binary,
        )


def _features(arrays: dict[str, Array], part: str) -> Encoded:
    sizes = [len(arrays[f"categories_{column}"]) for column in range(8)]
    return encode(arrays[f"{part}_numbers"], arrays[f"{part}_codes"], sizes)
