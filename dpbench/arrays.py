"""Names for the arrays that functions take and return. Shapes are in docstrings."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
"""Floating-point numbers of any precision."""

Ints = NDArray[np.integer]
"""Integers of any width, such as labels and indices."""

Bools = NDArray[np.bool_]
"""Truth values, such as membership bits."""
