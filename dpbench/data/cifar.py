"""CIFAR-10 and CIFAR-100."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dpbench.component import register
from dpbench.data.base import Array, Dataset, Ints, RawData, no_bits
from dpbench.data.published import PublishedFile
from dpbench.data.torchvision_sets import CifarParts, has_cifar, read_cifar
from dpbench.errors import UserError

_SHAPE = (3, 32, 32)
_PAGE = "https://www.cs.toronto.edu/~kriz/cifar.html"


def parse_batch(content: bytes, *, where: str) -> tuple[Array, Ints]:
    """Returns images `(n, 3, 32, 32)` uint8 and labels of one batch of the binary version.

    Each record is one label byte, then 1,024 red, 1,024 green and 1,024 blue bytes, row by row.

    Raises:
        UserError: The content is not a whole number of records, or a label is above 9.
    """
    size = 1 + int(np.prod(_SHAPE))
    if not content or len(content) % size:
        raise UserError(f"{where}: {len(content)} bytes are not a number of {size}-byte records")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, size)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise UserError(f"{where}: label {labels.max()} is not valid", allowed="0 to 9")
    return records[:, 1:].reshape(-1, *_SHAPE), labels


def _raw(parts: CifarParts, n_classes: int) -> RawData:
    return RawData(*parts, n_classes=n_classes, is_image=True, binary=no_bits(_SHAPE))


def _batch(name: str, md5: str) -> PublishedFile:
    return PublishedFile(paths=(f"cifar-10-batches-bin/{name}.bin",), digest=f"md5:{md5}")


@register
@dataclass(frozen=True, kw_only=True)
class Cifar10(Dataset):
    """Colour images of 32x32, 10 classes, 50,000 + 10,000. [Krizhevsky 2009].

    Read from torchvision's layout, or from as many batches of the binary version as are there:
    fewer batches are a smaller set, and without the test batch the test set is carved out.
    """

    licence: ClassVar[str] = "not stated"
    source: ClassVar[str] = _PAGE
    torchvision_class: ClassVar[str] = "CIFAR10"
    files: ClassVar[tuple[PublishedFile, ...]] = (
        _batch("data_batch_1", "5dd7e06a14cb22eb9f671a540d1b7c25"),
        _batch("data_batch_2", "5ea93a67294ea407fff1d09f752e9692"),
        _batch("data_batch_3", "942cd6a4bcdd0dd3c604fbe906cb4421"),
        _batch("data_batch_4", "ae636b3ba5c66a11e91e8cb52e771fcb"),
        _batch("data_batch_5", "53f37980c15c3d472c316c40844f3f0d"),
        _batch("test_batch", "803d5f7f4d78ea53de84dbe85f74fb6d"),
    )

    def load(self, data_dir: Path) -> RawData:
        """Returns torchvision's copy, or the binary batches that are present."""
        if has_cifar("CIFAR10", data_dir):
            return _raw(read_cifar("CIFAR10", data_dir), 10)
        *batches, test = self.files
        # The first batch is asked for even when absent, so that the error names a file.
        present = [file for file in batches if file is batches[0] or file.locate(data_dir)]
        parts = [self._parse(file, data_dir) for file in present]
        test_x, test_y = self._parse(test, data_dir) if test.locate(data_dir) else (None, None)
        return RawData(
            train_x=np.concatenate([images for images, _ in parts]),
            train_y=np.concatenate([labels for _, labels in parts]),
            test_x=test_x,
            test_y=test_y,
            n_classes=10,
            is_image=True,
            binary=no_bits(_SHAPE),
        )

    def _parse(self, file: PublishedFile, folder: Path) -> tuple[Array, Ints]:
        content = file.read(folder, dataset=self.name, source=self.source)
        return parse_batch(content, where=f"{self.name}: {file.paths[0]}")


@register
@dataclass(frozen=True, kw_only=True)
class Cifar100(Dataset):
    """Colour images of 32x32, 100 fine classes, 50,000 + 10,000. [Krizhevsky 2009]."""

    licence: ClassVar[str] = "not stated"
    source: ClassVar[str] = _PAGE
    torchvision_class: ClassVar[str] = "CIFAR100"

    def load(self, data_dir: Path) -> RawData:
        """Returns torchvision's copy."""
        if not has_cifar("CIFAR100", data_dir):
            raise UserError(
                f"{self.name}: cifar-100-python is not in the data folder {data_dir}",
                allowed="torchvision's layout, which checks its own digests",
                next_step=f"`dpbench download {self.name}`, or unpack the Python version from "
                f"{self.source} there",
            )
        return _raw(read_cifar("CIFAR100", data_dir), 100)
