"""Letter Recognition."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dpbench.component import register
from dpbench.data.base import Dataset, RawData, no_bits
from dpbench.data.embedded import read_embedded
from dpbench.data.published import PublishedFile


@register
@dataclass(frozen=True, kw_only=True)
class Letter(Dataset):
    """16 integer features of distorted capital letters, 26 classes, 20,000 rows. [Slate 1991].

    1,332 of the rows repeat another row exactly; they go before any split is made.
    """

    licence: ClassVar[str] = "CC BY 4.0"
    source: ClassVar[str] = "https://doi.org/10.24432/C5ZP40"
    embedded: ClassVar[bool] = True
    files: ClassVar[tuple[PublishedFile, ...]] = (
        PublishedFile(
            paths=("uci/letter-recognition.data",),
            digest="sha256:2b89f3602cf768d3c8355267d2f13f2417809e101fc2b5ceee10db19a60de6e2",
        ),
    )

    def load(self, data_dir: Path) -> RawData:
        """Returns the embedded table."""
        del data_dir
        arrays = read_embedded("letter")
        return RawData(
            train_x=arrays["x"],
            train_y=arrays["y"].astype(np.int64),
            test_x=None,
            test_y=None,
            n_classes=26,
            is_image=False,
            binary=no_bits(arrays["x"].shape[1:]),
        )
