"""The ranges of the quantities of guarantees and games, checked wherever one is given."""

import math

import numpy as np
from numpy.typing import ArrayLike

from dpbench.arrays import Floats
from dpbench.errors import UserError

_ABOVE_ZERO = float(np.nextafter(0, 1))
_BELOW_ONE = float(np.nextafter(1, 0))

_RANGES: dict[str, tuple[float, float, str]] = {
    "epsilon": (0.0, math.inf, "0 or more; inf is no privacy"),
    "mu": (0.0, math.inf, "0 or more; inf is no privacy"),
    "delta": (0.0, 1.0, "0 to 1"),
    "fpr": (0.0, 1.0, "0 to 1"),
    "prior": (_ABOVE_ZERO, _BELOW_ONE, "between 0 and 1, both excluded"),
    "odds": (_ABOVE_ZERO, float(np.finfo(np.float64).max), "above 0 and finite"),
}


def in_range(field: str, value: ArrayLike) -> Floats:
    """Returns the value as an array, if each entry is a possible one.

    Args:
        field: `epsilon`, `mu`, `delta`, `fpr`, `prior` or `odds`.
        value: Scalar or array.

    Raises:
        UserError: An entry is out of range or not a number.
    """
    low, high, allowed = _RANGES[field]
    numbers = np.asarray(value, dtype=np.float64)
    # Written so that NaN, which compares with nothing, is refused too.
    refused = numbers[~((numbers >= low) & (numbers <= high))]
    if refused.size:
        raise UserError(f"{field}: {refused[0]:g} is not possible", allowed=allowed)
    return numbers
