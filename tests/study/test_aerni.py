"""The canary study's table: which attack counts, and whom a defense is compared with."""

import numpy as np
import pandas as pd
import pytest

from bench.aerni import rival, rows_of, table

NAMES = ["none", "dp_sgd(epsilon=8)", "dp_sgd(epsilon=100)", "dp_sgd(epsilon=1000)", "hamp"]
ACCURACIES = [0.80, 0.75, 0.80, 0.82, 0.804]
EPSILONS = [np.inf, 8.0, 100.0, 1000.0, np.inf]


def tables() -> tuple[pd.DataFrame, pd.DataFrame]:
    cells = pd.DataFrame(
        {"cell": NAMES, "canary_test_accuracy": ACCURACIES, "canary_epsilon": EPSILONS}
    )
    rows = []
    for number, cell in enumerate(NAMES):
        for attack, knowledge, canary, average in (
            ("lira", "adaptive", 0.2 + 0.1 * number, 0.1),
            ("gap", "adaptive", 0.0, 0.2),
            ("lira", "static", 0.9, 0.9),
            ("best", "adaptive", 0.95, 0.95),
        ):
            row = {"cell": cell, "attack": attack, "knowledge": knowledge}
            for track, value in (("canary_", canary), ("", average)):
                name = f"{track}tpr_at_fpr_0.001"
                row |= {name: value, f"{name}_low": value / 2, f"{name}_high": value * 1.01}
            rows.append(row)
    return cells, pd.DataFrame(rows)


def test_the_strongest_adaptive_attack_of_each_track_counts():
    rows = rows_of(*tables())
    assert [row.cell for row in rows] == NAMES
    assert rows[1].canary == pytest.approx((0.3, 0.15, 0.303))
    assert rows[1].attack == "lira"
    assert rows[1].average[0] == pytest.approx(0.2)
    assert rows[1].ratio == pytest.approx(1.5)


def test_the_rival_has_the_least_epsilon_among_the_able():
    rows = rows_of(*tables())
    assert rival(rows[0], rows).cell == "dp_sgd(epsilon=100)"
    assert rival(rows[4], rows).cell == "dp_sgd(epsilon=100)", "within half a point of accuracy"
    assert rival(rows[4]._replace(accuracy=0.81), rows).cell == "dp_sgd(epsilon=1000)"
    assert rival(rows[4]._replace(accuracy=0.9), rows) is None


def test_the_table_names_rates_that_cannot_be_resolved():
    cells, attacks = tables()
    attacks.loc[attacks["cell"] == "hamp", "canary_tpr_at_fpr_0.001"] = np.nan
    lines = table(rows_of(cells, attacks)).splitlines()
    assert len(lines) == 2 + len(NAMES)
    assert "not resolvable" in lines[-1]
    assert "`dp_sgd(epsilon=100)`: 0.400 [0.200, 0.404]" in lines[2]
