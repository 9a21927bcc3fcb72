"""Fashion-MNIST: a subset that comes with the package, and the whole."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dpbench.component import register
from dpbench.data.base import Dataset, RawData, no_bits
from dpbench.data.embedded import read_embedded
from dpbench.data.idx import idx_files, load_idx


@register
@dataclass(frozen=True, kw_only=True)
class FashionMnist(Dataset):
    """10,000 + 5,000 Fashion-MNIST images of 28x28, 10 classes. [Xiao, Rasul & Vollgraf 2017].

    A class-balanced sample (1,000 + 500 a class) of the official parts, drawn once after exact
    duplicates were removed; `bench/make_embedded_data.py` makes it.
    """

    licence: ClassVar[str] = "MIT"
    source: ClassVar[str] = "https://github.com/zalandoresearch/fashion-mnist"
    embedded: ClassVar[bool] = True

    def load(self, data_dir: Path) -> RawData:
        """Returns the embedded sample."""
        del data_dir
        arrays = read_embedded("fashion_mnist")
        return RawData(
            train_x=arrays["train_x"][:, None],
            train_y=arrays["train_y"].astype(np.int64),
            test_x=arrays["test_x"][:, None],
            test_y=arrays["test_y"].astype(np.int64),
            n_classes=10,
            is_image=True,
            binary=no_bits((1, *arrays["train_x"].shape[1:])),
        )


@register
@dataclass(frozen=True, kw_only=True)
class FashionMnistFull(Dataset):
    """All of Fashion-MNIST, 60,000 + 10,000 images. [Xiao, Rasul & Vollgraf 2017]."""

    licence: ClassVar[str] = "MIT"
    source: ClassVar[str] = "https://github.com/zalandoresearch/fashion-mnist"
    torchvision_class: ClassVar[str] = "FashionMNIST"
    files = idx_files(
        ("FashionMNIST/raw", "fashion-mnist"),
        (
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            "9018921c3c673c538a1fc5bad174d6f9",
            "8181f5470baa50b63fa0f6fddb340f0a",
            "15d484375f8d13e6eb1aabb0c3f46965",
        ),
    )

    def load(self, data_dir: Path) -> RawData:
        """Returns the four IDX files' content."""
        return load_idx(self, data_dir)
