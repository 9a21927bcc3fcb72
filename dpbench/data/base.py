"""What a data set is: a named loader that returns raw arrays and declares where they come from."""

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench.arrays import Bools as Bools
from dpbench.component import Component
from dpbench.data.published import PublishedFile

Array = NDArray[Any]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


class Told(NamedTuple):
    """What a file was taken for, for whoever wrote it.

    Attributes:
        label_column: The name of the labels' column, or none.
        class_names: The classes as the file has them, in the order of their numbers; none where
            numbers are all there is.
        read_as: How a text was understood, or nothing.
        notes: What its author should know.
    """

    label_column: str = ""
    class_names: tuple[str, ...] = ()
    read_as: str = ""
    notes: tuple[str, ...] = ()


class RawData(NamedTuple):
    """A data set as its publisher cut it, neither deduplicated nor standardised.

    Attributes:
        train_x: `(n, *shape)`. Images are `(n, channels, height, width)`, uint8 or floats in
            [0, 1].
        train_y: `(n,)` int64 labels 0..n_classes-1.
        test_x: The official test part, or None where the publisher made none.
        test_y: Its labels.
        n_classes: Number of classes, by declaration.
        is_image: Whether inputs are images.
        binary: `(*shape)` bool, the features that hold bits *by declaration of the data set*. What
            some rows happen to contain must not decide it.
        told: What a user's file was taken for.
    """

    train_x: Array
    train_y: Ints
    test_x: Array | None
    test_y: Ints | None
    n_classes: int
    is_image: bool
    binary: Bools
    told: Told = Told()


@dataclass(frozen=True, kw_only=True)
class Dataset(Component):
    """One data set by name.

    Class variables:
        licence: Terms under which its publisher offers it, or that none were stated.
        source: Where a person gets it.
        embedded: Whether it comes with the package, so that nothing needs downloading.
        files: The published files it is read from (or, when embedded, was made from).
        torchvision_class: The `torchvision.datasets` class that downloads it, or "".
    """

    kind: ClassVar[str] = "dataset"
    licence: ClassVar[str] = "not stated"
    source: ClassVar[str] = ""
    embedded: ClassVar[bool] = False
    files: ClassVar[tuple[PublishedFile, ...]] = ()
    torchvision_class: ClassVar[str] = ""

    @abstractmethod
    def load(self, data_dir: Path) -> RawData:
        """Returns the raw arrays.

        Args:
            data_dir: The folder of downloaded sets. Embedded sets do not look at it.

        Raises:
            UserError: A file is missing or its digest is wrong.
        """


def no_bits(shape: tuple[int, ...]) -> Bools:
    """Returns the `binary` declaration of a data set that holds none."""
    return np.zeros(shape, dtype=bool)
