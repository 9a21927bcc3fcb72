"""Online LiRA with one variance, scored against the other targets: the bits of all are used."""

import numpy as np


def likelihood_ratio(phi, members):
    """Returns `(M, n)` scores; model t's use the values and bits of the models other than t."""
    mean = {}
    for side, include in (("in", members), ("out", ~members)):
        count = include.sum(0) - include
        total = np.where(include, phi, 0).sum(0) - np.where(include, phi, 0)
        # An example without such shadows says nothing.
        mean[side] = np.divide(total, count, out=np.zeros(phi.shape), where=count > 0)
    return (mean["in"] - mean["out"]) * (phi - (mean["in"] + mean["out"]) / 2)
