"""The comparison as a table of texts, for the terminal and for papers."""

from collections.abc import Sequence

import pandas as pd

from dpbench.comparison.compare import Compared
from dpbench.comparison.sentence import NAMES
from dpbench.metrics import Interval


def readable(found: Sequence[Compared]) -> pd.DataFrame:
    """Returns a table of texts: a row for every cell, track, metric and baseline."""
    return pd.DataFrame(
        {
            "cell": one.cell,
            "accuracy": f"{one.accuracy.value:.3f}",
            "of": one.track,
            "leak": NAMES[one.metric],
            "measured": _number(one.leak),
            "baseline": one.rival,
            "read at": one.where,
            "its accuracy": f"{one.rival_accuracy.value:.3f}",
            "its leak": _number(one.rival_leak),
            "difference": _number(one.difference),
            "verdict": one.verdict,
        }
        for one in found
    )


def _number(value: Interval) -> str:
    return f"{value.value:.3f} [{value.low:.3f}, {value.high:.3f}]"
