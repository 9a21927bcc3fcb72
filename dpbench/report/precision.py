"""What a threshold that was set beforehand finds, and how often its accusations are right."""

import math

import pandas as pd

from dpbench.metrics.shadow_rates import PRIORS, shadow_columns
from dpbench.metrics.strength import FPRS
from dpbench.report.main_table import interval
from dpbench.report.results import Row, Tables, records


def precision_table(run: Tables) -> pd.DataFrame:
    """Returns one row per cell whose best adaptive attack has such a threshold, for people.

    The attack is the one that did best by the TPR at the same rate. It is empty if no cell has any.
    """
    best = run.best[run.best["knowledge"] == "adaptive"]
    # The lower rate, where any cell resolves it: at a higher one most accusations are wrong.
    resolved = [fpr for fpr in sorted(FPRS) if best[shadow_columns(fpr)[0]].notna().any()]
    if not resolved:
        return pd.DataFrame()
    rows = {row["cell"]: row for row in records(best)}
    cells = [cell for cell in run.cells["cell"] if cell in rows]
    aimed = f"{100 * resolved[0]:g} %"
    shares = [f"right if {100 * prior:g} % are members, %" for prior in PRIORS]
    return pd.DataFrame(
        [(cell, *_fields(rows[cell], resolved[0])) for cell in cells],
        columns=["cell", f"TPR, {aimed} false alarms aimed at, %", "false alarms, %", *shares],
    )


def _fields(row: Row, fpr: float) -> list[str]:
    tpr, low, high, realised, *right = (row[name] for name in shadow_columns(fpr))
    found = interval(tpr, low, high, scale=100, digits=2)
    attack = row[f"tpr_at_fpr_{fpr:g}_attack"]
    return [
        found if math.isnan(tpr) else f"{found}\n{attack}",
        interval(realised, math.nan, math.nan, scale=100, digits=3),
        *(interval(share, math.nan, math.nan, scale=100, digits=1) for share in right),
    ]
