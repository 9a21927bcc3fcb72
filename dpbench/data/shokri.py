"""The three binary tables of the membership-inference literature. [Shokri et al. 2017]."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from dpbench.component import register
from dpbench.data.base import Array, Dataset, Ints, RawData
from dpbench.data.published import PublishedFile, archive_member
from dpbench.errors import UserError

_REPOSITORY = "https://github.com/privacytrustlab/datasets"


def _archive(folder: str, name: str, blob: str) -> tuple[PublishedFile, ...]:
    return (
        PublishedFile(
            paths=(f"{folder}/{name}", name),
            digest=f"git-blob:{blob}",
            url=f"{_REPOSITORY}/raw/master/{name}",
        ),
    )


@register
@dataclass(frozen=True, kw_only=True)
class Location(Dataset):
    """Location-30: Foursquare check-ins in Bangkok, 5,010 rows of 446 bits, 30 classes."""

    source: ClassVar[str] = _REPOSITORY
    files = _archive("location", "dataset_location.tgz", "0cfc2caa0c8c8569cd68a5d4ab369a98c1f98447")

    def load(self, data_dir: Path) -> RawData:
        """Returns the member `bangkok`, whose first column is the label 1..30."""
        return _labelled_bits(self, data_dir, member="bangkok", width=446, n_classes=30)


@register
@dataclass(frozen=True, kw_only=True)
class Purchase100(Dataset):
    """Purchase-100: what shoppers bought, 197,324 rows of 600 bits, 100 clusters as classes."""

    source: ClassVar[str] = _REPOSITORY
    files = _archive("purchase", "dataset_purchase.tgz", "3efa7476ad5ed7ac3e558d28585a186b38fc5f19")

    def load(self, data_dir: Path) -> RawData:
        """Returns the member `dataset_purchase`, whose first column is the label 1..100."""
        return _labelled_bits(self, data_dir, member="dataset_purchase", width=600, n_classes=100)


@register
@dataclass(frozen=True, kw_only=True)
class Texas100(Dataset):
    """Texas-100: hospital stays, 67,330 rows of 6,169 bits, 100 procedures as classes."""

    source: ClassVar[str] = _REPOSITORY
    files = _archive("texas", "dataset_texas.tgz", "966f7ff40b24cf5912ff84759aab9adb8c25f30e")

    def load(self, data_dir: Path) -> RawData:
        """Returns the members `texas/100/feats` and `texas/100/labels` (1..100)."""
        archive = self.files[0].read(data_dir, dataset=self.name, source=self.source)
        with archive_member(archive, "texas/100/feats", where=self.name) as lines:
            inputs = parse_bits((line.strip() for line in lines), width=6169, where=self.name)
        with archive_member(archive, "texas/100/labels", where=self.name) as lines:
            labels = parse_labels(lines, n_classes=100, where=self.name)
        return _table(inputs, labels, n_classes=100, where=self.name)


def _labelled_bits(
    dataset: Dataset, folder: Path, *, member: str, width: int, n_classes: int
) -> RawData:
    archive = dataset.files[0].read(folder, dataset=dataset.name, source=dataset.source)
    with archive_member(archive, member, where=dataset.name) as lines:
        pairs = [line.strip().partition(b",") for line in lines]
    return _table(
        parse_bits((bits for _, _, bits in pairs), width=width, where=dataset.name),
        parse_labels((label for label, _, _ in pairs), n_classes=n_classes, where=dataset.name),
        n_classes=n_classes,
        where=dataset.name,
    )


def parse_bits(lines: Iterable[bytes], *, width: int, where: str) -> Array:
    """Returns `(n, width)` uint8 from lines of comma-separated 0 and 1.

    Raises:
        UserError: A line has another number of fields or holds anything else.
    """
    digits, commas = bytearray(), b"," * (width - 1)
    for number, line in enumerate(lines, start=1):
        if len(line) != 2 * width - 1 or line[1::2] != commas:
            raise UserError(f"{where}: line {number} does not hold {width} comma-separated bits")
        digits += line[::2]
    bits = np.frombuffer(digits, dtype=np.uint8).reshape(-1, width) - ord("0")
    wrong = np.flatnonzero((bits > 1).any(axis=1))
    if len(wrong):
        raise UserError(f"{where}: line {wrong[0] + 1} holds something else than 0 and 1")
    return bits


def parse_labels(fields: Iterable[bytes], *, n_classes: int, where: str) -> Ints:
    """Returns labels 0..n_classes-1 from fields that hold 1..n_classes, quoted or not.

    Raises:
        UserError: A label is not such a number.
    """
    texts = [field.strip().strip(b'"') for field in fields]
    for number, text in enumerate(texts, start=1):
        if not text.isdigit() or not 1 <= int(text) <= n_classes:
            raise UserError(
                f"{where}: line {number}: label {text.decode(errors='replace')!r} is not valid",
                allowed=f"1 to {n_classes}",
            )
    return np.array([int(text) for text in texts], dtype=np.int64) - 1


def _table(inputs: Array, labels: Ints, *, n_classes: int, where: str) -> RawData:
    if len(inputs) != len(labels):
        raise UserError(f"{where}: {len(inputs)} rows of features but {len(labels)} labels")
    return RawData(
        train_x=inputs,
        train_y=labels,
        test_x=None,
        test_y=None,
        n_classes=n_classes,
        is_image=False,
        binary=np.ones(inputs.shape[1:], dtype=bool),
    )
