"""What a threshold that was set beforehand finds, and how often its accusations are right."""

import math

import pandas as pd

from dpbench.metrics.shadow_rates import PRIORS
from dpbench.report.main_table import interval
from dpbench.report.results import SHADOW_FPRS, Row, Tables, records


def precision_table(run: Tables) -> pd.DataFrame:
    """Returns one row per cell whose best adaptive attack has such a threshold, for people.

    The attack is the one that did best by the TPR at the same rate. It is empty if no cell has any.
    """
    best = run.best[run.best["knowledge"] == "adaptive"]
    # The lower rate, where any cell resolves it: at a higher one most accusations are wrong.
    resolved = [name for name in SHADOW_FPRS if best[f"tpr_at_{name}"].notna().any()]
    if not resolved:
        return pd.DataFrame()
    rows = {row["cell"]: row for row in records(best)}
    cells = [cell for cell in run.cells["cell"] if cell in rows]
    aimed = f"{100 * float(resolved[0].rpartition('_')[2]):g} %"
    shares = [f"right if {100 * prior:g} % are members, %" for prior in PRIORS]
    return pd.DataFrame(
        [(cell, *_fields(rows[cell], resolved[0])) for cell in cells],
        columns=["cell", f"TPR, {aimed} false alarms aimed at, %", "false alarms, %", *shares],
    )


def _fields(row: Row, rate: str) -> list[str]:
    ends = (row[f"tpr_at_{rate}{end}"] for end in ("", "_low", "_high"))
    attack = row[f"tpr_at_{rate.removeprefix('shadow_')}_attack"]
    rest = [
        _percent(row[f"realised_{rate}"], digits=3),
        *(_percent(row[f"precision_at_{rate}_prior_{prior:g}"]) for prior in PRIORS),
    ]
    found = interval(*ends, scale=100, digits=2)
    return [found if found == "–" else f"{found}\n{attack}", *rest]


def _percent(value: float, *, digits: int = 1) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.{digits}f}"
