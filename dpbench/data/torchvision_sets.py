"""The only file that touches torchvision: its downloads, and the CIFAR batches in its own layout.

Those batches are pickles, which this package never opens by itself; torchvision reads them after
checking their digests.
"""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dpbench.data.base import Array, Ints
from dpbench.errors import UserError

_CIFAR_FOLDERS = {"CIFAR10": "cifar-10-batches-py", "CIFAR100": "cifar-100-python"}


class CifarParts(NamedTuple):
    """Images `(n, 3, 32, 32)` uint8 and labels `(n,)` int64 of both official parts."""

    train_x: Array
    train_y: Ints
    test_x: Array
    test_y: Ints


def has_cifar(name: str, folder: Path) -> bool:
    """Tells whether torchvision's layout of CIFAR10 or CIFAR100 is in the data folder."""
    return (folder / _CIFAR_FOLDERS[name]).is_dir()


def read_cifar(name: str, folder: Path) -> CifarParts:
    """Returns CIFAR10 or CIFAR100 from torchvision's layout.

    Raises:
        UserError: A batch is missing or its digest is wrong.
    """
    train, test = (_open(name, folder, train=train, download=False) for train in (True, False))
    return CifarParts(*_arrays(train), *_arrays(test))


def fetch(name: str, folder: Path) -> None:
    """Downloads a torchvision set into the data folder; torchvision checks its digests.

    Raises:
        UserError: The download failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _open(name, folder, train=True, download=True)


def _open(name: str, folder: Path, *, train: bool, download: bool) -> Any:
    from torchvision import datasets  # imports torch: only where it is needed

    with warnings.catch_warnings():
        # CIFAR's pickles predate NumPy's rule for `align`, about which it warns.
        warnings.simplefilter("ignore")
        try:
            return getattr(datasets, name)(folder, train=train, download=download)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"torchvision.datasets.{name} in {folder}: {error}",
                next_step=f"delete its folder there and run `dpbench download {name.lower()}`",
            ) from None


def _arrays(part: Any) -> tuple[Array, Ints]:
    images = np.ascontiguousarray(part.data.transpose(0, 3, 1, 2))
    return images, np.asarray(part.targets, dtype=np.int64)
