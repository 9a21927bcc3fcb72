"""The two small sets that scikit-learn ships: plumbing and negative controls, never a claim."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dpbench.component import register
from dpbench.data.base import Dataset, RawData, no_bits
from dpbench.errors import UserError


def _bunch(name: str) -> Any:
    try:
        module = importlib.import_module("sklearn.datasets")
    except ImportError:
        raise UserError(
            f"{name}: this data set comes with scikit-learn, which is not installed",
            next_step="pip install 'dp-defense-bench[oracle]'",
        ) from None
    return getattr(module, f"load_{name}")()


@register
@dataclass(frozen=True, kw_only=True)
class Digits(Dataset):
    """1,797 handwritten digits of 8x8, 10 classes. [Alpaydin & Kaynak 1998]."""

    licence: ClassVar[str] = "CC BY 4.0"
    source: ClassVar[str] = "scikit-learn (sklearn.datasets.load_digits)"

    def load(self, data_dir: Path) -> RawData:
        """Returns the images, whose raw range is 0..16, in [0, 1]."""
        del data_dir
        bunch = _bunch(self.name)
        return RawData(
            train_x=(bunch.images[:, None] / 16).astype(np.float32),
            train_y=bunch.target.astype(np.int64),
            test_x=None,
            test_y=None,
            n_classes=10,
            is_image=True,
            binary=no_bits((1, 8, 8)),
        )


@register
@dataclass(frozen=True, kw_only=True)
class BreastCancer(Dataset):
    """Malignant or benign, 569 rows, 30 continuous columns. [Wolberg et al. 1993]."""

    licence: ClassVar[str] = "CC BY 4.0"
    source: ClassVar[str] = "scikit-learn (sklearn.datasets.load_breast_cancer)"

    def load(self, data_dir: Path) -> RawData:
        """Returns the table."""
        del data_dir
        bunch = _bunch(self.name)
        return RawData(
            train_x=bunch.data.astype(np.float64),
            train_y=bunch.target.astype(np.int64),
            test_x=None,
            test_y=None,
            n_classes=2,
            is_image=False,
            binary=no_bits((30,)),
        )
