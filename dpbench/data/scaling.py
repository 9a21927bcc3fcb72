"""From raw values to model inputs, by what the reference set says and nothing else."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np

from dpbench.data.base import Array, Bools, Floats
from dpbench.errors import UserError


def average_pool(images: Array, factor: int) -> Array:
    """Returns images `(n, c, h, w)` reduced to block means `(n, c, h/factor, w/factor)`.

    uint8 images become float32 in [0, 1]. Their block sums are taken in integers, so that equal
    blocks stay equal to the last bit.

    Raises:
        UserError: The factor does not divide height and width.
    """
    height, width = images.shape[2:]
    if height % factor or width % factor:
        common = math.gcd(height, width)
        raise UserError(
            f"population.average_pool: {factor} does not divide images of {height}x{width}",
            allowed=", ".join(str(d) for d in range(1, common + 1) if common % d == 0),
        )
    if factor == 1:
        return images
    sums = np.uint32 if images.dtype == np.uint8 else np.float64
    total = np.zeros((*images.shape[:2], height // factor, width // factor), dtype=sums)
    for row in range(factor):
        for column in range(factor):
            total += images[:, :, row::factor, column::factor]
    top = 255 if images.dtype == np.uint8 else 1
    return (total / (top * factor**2)).astype(np.float32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """A standardisation, fitted on reference examples.

    Images: raw values in [0, 1], minus the reference's mean image, divided by one number, the
    standard deviation of the reference around that mean. Continuous columns: minus the reference's
    mean, divided by its standard deviation (by 1 where the column is constant). Bits stay 0 and 1.

    Attributes:
        centre: `(*shape)` what is subtracted, in raw units.
        spread: `(*shape)` what is divided by, in raw units.
        low, high: `(*shape)` float32 feature ranges in input units: raw 0 and 1 for images and
            bits, the reference's extremes for continuous columns.
        unit: `(*shape)` float32, one raw unit in input units for images; 1 for columns.
        binary: `(*shape)` bool, the declared bits.
        is_image: Which of the two rules applies.
    """

    centre: Array
    spread: Array
    low: Floats
    high: Floats
    unit: Floats
    binary: Bools
    is_image: bool

    @classmethod
    def fit(cls, reference: Array, *, binary: Bools, is_image: bool) -> Self:
        """Returns the standardisation of reference examples `(r, *shape)` of raw values."""
        values = _raw_units(reference, is_image=is_image)
        centre, spread = _image_moments(values) if is_image else _column_moments(values, binary)
        fixed = binary | is_image
        low = np.where(fixed, 0, values.min(axis=0))
        high = np.where(fixed, 1, values.max(axis=0))
        return cls(
            centre=centre,
            spread=spread,
            low=((low - centre) / spread).astype(np.float32),
            high=((high - centre) / spread).astype(np.float32),
            unit=(1 / spread if is_image else np.ones_like(spread)).astype(np.float32),
            binary=binary,
            is_image=is_image,
        )

    @property
    def zero(self) -> Floats:
        """Raw zeros in input units, `(*shape)`."""
        zero: Floats = self.apply(np.zeros((1, *self.centre.shape), dtype=self.centre.dtype))[0]
        return zero

    def apply(self, raw: Array) -> Floats:
        """Returns inputs `(n, *shape)` float32 for raw values `(n, *shape)`.

        Raises:
            UserError: A value overflows, because its column hardly varies in the reference set.
        """
        values = _raw_units(raw, is_image=self.is_image)
        with np.errstate(over="ignore"):
            inputs: Floats = ((values - self.centre) / self.spread).astype(np.float32)
        if not np.isfinite(inputs).all():
            feature = tuple(int(part) for part in np.argwhere(~np.isfinite(inputs))[0][1:])
            raise UserError(
                f"population: feature {feature} overflows when it is standardised",
                next_step="rescale it: its values dwarf their spread in the reference set",
            )
        return inputs


def _raw_units(raw: Array, *, is_image: bool) -> Array:
    """Returns pixels in [0, 1] as float32; columns as float64, or as float32 if that is exact."""
    if raw.dtype == np.uint8:
        values = raw.astype(np.float32)
        return values / 255 if is_image else values
    return raw.astype(np.float32 if is_image else np.float64, copy=False)


def _image_moments(values: Array) -> tuple[Array, Array]:
    centre = values.mean(axis=0, dtype=np.float64).astype(np.float32)
    squares = np.square(values - centre).sum(axis=0, dtype=np.float64)
    # An exact sum, because NumPy's order of summation depends on the processor.
    deviation = math.sqrt(math.fsum(squares.ravel()) / values.size)
    return centre, np.full_like(centre, deviation or 1.0)


def _column_moments(values: Array, binary: Bools) -> tuple[Array, Array]:
    constant = values.min(axis=0) == values.max(axis=0)
    centre = np.where(binary, np.zeros_like(values[0]), values[0])
    spread = np.ones_like(centre)
    varies = ~(binary | constant)
    centre[varies] = values[:, varies].mean(axis=0, dtype=np.float64)
    spread[varies] = values[:, varies].std(axis=0, dtype=np.float64)
    return centre, spread
