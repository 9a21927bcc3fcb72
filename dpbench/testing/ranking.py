"""The area under the ROC curve, as a rank statistic: an oracle independent of `dpbench.metrics`."""

import math

import numpy as np
from scipy.stats import rankdata

from dpbench.attacks.base import Bools, Floats


def auc(scores: Floats, members: Bools) -> float:
    """Returns the chance that a member outscores a non-member, a tie counting half."""
    flat, bits = np.ravel(scores), np.ravel(members)
    positives = int(bits.sum())
    negatives = bits.size - positives
    ranks = rankdata(flat)[bits].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def standard_error(members: Bools) -> float:
    """Returns the standard deviation of the AUC of scores without ties that know nothing."""
    positives = int(members.sum())
    negatives = members.size - positives
    return math.sqrt((positives + negatives + 1) / (12 * positives * negatives))
