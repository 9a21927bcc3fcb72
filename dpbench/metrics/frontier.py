"""What a baseline with many strengths gives at the accuracy, or at the leak, of another defense."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import isotonic_regression

from dpbench.arrays import Floats


class Reading(NamedTuple):
    """A point between two strengths.

    Attributes:
        value: What was read off there.
        along: Where it was read: as asked, or at the nearer end if that is out of reach.
        position: Index of the strength that reaches it, less the share of the way from there back
            to the one before it.
        stricter: The value at the strength before; `value` itself on a strength.
        looser: The value at the strength after. Whatever the course between two strengths, a
            monotone one stays between these.
    """

    value: float
    along: float
    position: float
    stricter: float
    looser: float


class Frontier:
    """A baseline's two measures, as its strength is relaxed step by step.

    Less noise means more accuracy and more leak, up to sampling error, so both are first made
    monotone (isotonic regression); between neighbouring strengths they are taken to be linear.
    Choosing the best of the points near an accuracy instead would favour the baseline by the
    luck of the draw.

    Args:
        along: `(k,)` the measure at which it is read, from the strictest strength to the loosest.
        values: `(k,)` the measure that is read off.
    """

    def __init__(self, along: Floats, values: Floats) -> None:
        self._along = isotonic_regression(np.asarray(along, dtype=np.float64)).x
        self._values = isotonic_regression(np.asarray(values, dtype=np.float64)).x

    def at(self, level: float) -> Reading:
        """Returns the value where the baseline first reaches a level, or at its nearer end."""
        along, values = self._along, self._values
        level = float(np.clip(level, along[0], along[-1]))
        reached = int(np.searchsorted(along, level, side="left"))
        if reached == 0:
            return Reading(float(values[0]), level, 0.0, float(values[0]), float(values[0]))
        before, after = float(values[reached - 1]), float(values[reached])
        back = float((along[reached] - level) / (along[reached] - along[reached - 1]))
        value = after - back * (after - before)
        # On a strength (back is 0) nothing is left open; level never lies on the one before.
        stricter = before if back > 0 else after
        return Reading(value, level, reached - back, stricter, after)
