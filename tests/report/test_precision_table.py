import pandas as pd
import pytest
from simulated_run import simulated_run

from dpbench.report.page import page
from dpbench.report.precision import precision_table
from dpbench.report.results import tables


class Run:
    """Two cells, of which the second has nothing at an FPR of 0.1 %."""

    name = command = key = document = ""

    def __init__(self, **rates):
        cells = [{"cell": name, "defense": name, "status": "done"} for name in ("none", "l2")]
        best = {"attack": "best", "attack_params": "{}", "status": "done"}
        rows = [
            {"cell": "none", "knowledge": "adaptive", **best, **rates},
            {"cell": "none", "knowledge": "static", **best, "tpr_at_shadow_fpr_0.001": 0.9},
            {"cell": "l2", "knowledge": "adaptive", **best},
        ]
        self.cells, self.attacks = pd.DataFrame(cells), pd.DataFrame(rows)


LOW = {
    "tpr_at_shadow_fpr_0.001": 0.0373,
    "tpr_at_shadow_fpr_0.001_low": 0.03,
    "tpr_at_shadow_fpr_0.001_high": 0.04,
    "realised_shadow_fpr_0.001": 0.000984,
    "precision_at_shadow_fpr_0.001_prior_0.01": 0.2769,
    "precision_at_shadow_fpr_0.001_prior_0.1": 0.8082,
    "precision_at_shadow_fpr_0.001_prior_0.5": 0.9743,
}


def test_shows_the_adaptive_attackers_rates_at_the_lower_fpr():
    table = precision_table(tables(Run(**LOW, **{"tpr_at_shadow_fpr_0.01": 0.5})))
    assert table["cell"].tolist() == ["none", "l2"]
    rate = table["TPR, 0.1 % false alarms aimed at, %"].str.partition("\n")[0]
    assert rate.tolist() == ["3.73 [3.00, 4.00]", "–"]
    assert table["false alarms, %"].tolist() == ["0.098", "–"]
    assert table["right if 1 % are members, %"].tolist() == ["27.7", "–"]
    assert table["right if 10 % are members, %"].tolist() == ["80.8", "–"]
    assert table["right if 50 % are members, %"].tolist() == ["97.4", "–"]


def test_takes_the_higher_fpr_where_the_lower_is_not_resolved():
    table = precision_table(tables(Run(**{"tpr_at_shadow_fpr_0.01": 0.5})))
    assert table["TPR, 1 % false alarms aimed at, %"].tolist()[0].startswith("50.00")


@pytest.mark.parametrize("run", [Run(), simulated_run()])
def test_a_run_without_these_columns_has_no_such_table(run):
    assert precision_table(tables(run)).empty
    assert 'id="precision"' not in page(run, tables(run), [])


def test_the_page_shows_the_table():
    run = Run(**LOW)
    assert "How often is an attacker right?" in page(run, tables(run), [])
