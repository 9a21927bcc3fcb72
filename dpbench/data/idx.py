"""The IDX format of MNIST and its successors: four files, big-endian header, then bytes."""

import math
import struct
from pathlib import Path

import numpy as np

from dpbench.data.base import Array, Dataset, RawData, no_bits
from dpbench.data.published import PublishedFile
from dpbench.errors import UserError

_STEMS = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_files(
    folders: tuple[str, ...], md5: tuple[str, str, str, str]
) -> tuple[PublishedFile, ...]:
    """Returns the four files: train images, train labels, test images, test labels.

    Args:
        folders: Where they may lie, compressed or not.
        md5: Digests of the uncompressed files (gzip wrappers differ between mirrors).
    """
    return tuple(
        PublishedFile(
            paths=tuple(f"{folder}/{stem}{end}" for folder in folders for end in (".gz", "")),
            digest=f"md5:{digest}",
        )
        for stem, digest in zip(_STEMS, md5, strict=True)
    )


def parse_idx(content: bytes, *, where: str) -> Array:
    """Returns the uint8 array that an IDX file holds.

    The first two bytes are zero, the third is 8 (unsigned bytes), the fourth the number of
    dimensions, whose sizes follow as big-endian 32-bit integers.

    Raises:
        UserError: The header is not IDX, or it promises another number of bytes.
    """
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise UserError(f"{where}: not an IDX file of unsigned bytes")
    start = 4 + 4 * content[3]
    if len(content) < start:
        raise UserError(f"{where}: the IDX header is cut off")
    shape = struct.unpack(f">{content[3]}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise UserError(f"{where}: the IDX header promises {shape}, the file holds other bytes")
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def load_idx(dataset: Dataset, folder: Path) -> RawData:
    """Returns ten classes of one-channel images from a set's four IDX files."""
    train_x, train_y, test_x, test_y = (
        parse_idx(
            file.read(folder, dataset=dataset.name, source=dataset.source),
            where=f"{dataset.name}: {file.paths[0]}",
        )
        for file in dataset.files
    )
    return RawData(
        train_x=train_x[:, None],
        train_y=train_y.astype(np.int64),
        test_x=test_x[:, None],
        test_y=test_y.astype(np.int64),
        n_classes=10,
        is_image=True,
        binary=no_bits((1, *train_x.shape[1:])),
    )
