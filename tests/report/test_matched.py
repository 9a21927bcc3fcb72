import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated_run import part_of_the_run, simulated_run, with_canaries

from dpbench.report.matched import (
    LEAKS_LESS,
    LEAKS_MORE,
    NEVER,
    NOT_APART,
    matched_numbers,
    matched_table,
)
from dpbench.report.results import tables

HALF = 0.01


class Run:
    """DP-SGD at given accuracies and leaks, and one other defense; all limits are one HALF away."""

    name = command = key = document = ""

    def __init__(self, accuracies, leaks, other, *, half=HALF):
        cells, attacks = [], []
        family = enumerate(zip(accuracies, leaks, strict=True))
        named = [(f"dp_sgd({i})", "dp_sgd", *both) for i, both in family]
        for i, (cell, defense, accuracy, leak) in enumerate([*named, ("new", "new", *other)]):
            params = json.dumps({"epsilon": float(i + 1), "noise_multiplier": None})
            row = {"cell": cell, "defense": defense, "params": params, "status": "done"}
            cells.append(row | ends("test_accuracy", accuracy, half) | {"epsilon": float(i + 1)})
            attacks.append(
                {"cell": cell, "attack": "best", "attack_params": "{}", "knowledge": "adaptive"}
                | {"status": "done"}
                | ends("advantage", leak, half)
            )
        self.cells, self.attacks = pd.DataFrame(cells), pd.DataFrame(attacks)


def ends(name, value, half):
    return {name: value, f"{name}_low": value - half, f"{name}_high": value + half}


def read(*args, **kwargs):
    numbers = matched_numbers(tables(Run(*args, **kwargs)))
    assert len(numbers) == 1
    return numbers.iloc[0]


def test_reads_between_neighbouring_strengths():
    row = read([0.5, 0.6, 0.8], [0.1, 0.2, 0.6], (0.7, 0.9))
    assert row["dp_sgd_leak"] == pytest.approx(0.4)
    # Wherever its course lies between the neighbours, whose own leaks are known to 0.01.
    assert row["dp_sgd_leak_low"] == pytest.approx(0.2 - 0.01)
    assert row["dp_sgd_leak_high"] == pytest.approx(0.6 + 0.01)
    assert row["between"] == "dp_sgd(1) to dp_sgd(2)"
    assert row["verdict"] == LEAKS_MORE


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ((0.7, 0.1), LEAKS_LESS),
        ((0.7, 0.4), NOT_APART),
        ((0.9, 0.7), NEVER["above"]),
        ((0.4, 0.0), NEVER["below"]),
    ],
)
def test_verdicts(other, verdict):
    assert read([0.5, 0.6, 0.8], [0.1, 0.2, 0.6], other)["verdict"] == verdict


@given(
    st.lists(st.floats(0.02, 0.2), min_size=2, max_size=5),
    st.lists(st.floats(0.02, 0.2), min_size=2, max_size=5),
    st.floats(0.0, 1.0),
    st.lists(st.floats(-1, 1), min_size=11, max_size=11),
    st.floats(0.1, 10),
)
def test_limits_hold_whenever_those_of_the_numbers_do(steps, rises, share, errors, bend):
    """What is measured lies anywhere within its limits of a truth that bends between strengths."""
    size = min(len(steps), len(rises))
    accuracies, leaks = 0.1 + np.cumsum(steps[:size]), np.cumsum(rises[:size])
    accuracy = accuracies[0] + share * (accuracies[-1] - accuracies[0])
    place = np.interp(accuracy, accuracies, np.arange(size))
    bent = np.floor(place) + (place % 1) ** bend
    truth = np.interp(bent, np.arange(size), leaks)
    shift = HALF * np.array(errors)
    row = read(accuracies + shift[:size], leaks + shift[5 : 5 + size], (accuracy + shift[10], 0.5))
    # Where measured orders are reversed the readings are averaged, which the bars allow for.
    assert row["dp_sgd_leak_low"] - 1e-9 <= truth <= row["dp_sgd_leak_high"] + 1e-9


def test_every_defense_but_dp_sgd_is_read_on_both_tracks(run):
    numbers = matched_numbers(tables(with_canaries(run)))
    assert set(numbers["track"]) == {"average", "canary"}
    done = run.cells[(run.cells["status"] == "done") & (run.cells["defense"] != "dp_sgd")]
    for _, rows in numbers.groupby(["track", "measure"]):
        assert set(rows["cell"]) == set(done["cell"])
    # Twice the leak everywhere is twice the reading.
    wide = numbers[numbers["measure"] == "advantage"].pivot(
        index="cell", columns="track", values="dp_sgd_leak"
    )
    np.testing.assert_allclose(wide["canary"], 2 * wide["average"], atol=1e-9)
    assert "examples" in matched_table(numbers)
    assert "examples" not in matched_table(matched_numbers(tables(run)))


def test_runs_without_a_line_of_dp_sgd_have_no_rows():
    for cells in (("none", "hamp"), ("none", "dp_sgd(epsilon=4)"), ()):
        numbers = matched_numbers(tables(part_of_the_run(cells=cells)))
        assert numbers.empty
        assert matched_table(numbers).empty


def test_the_table_says_the_numbers():
    run = simulated_run()
    table = matched_table(matched_numbers(tables(run)))
    row = table[(table["cell"] == "temperature(t=20)") & (table["measure"] == "advantage")].iloc[0]
    assert row["test accuracy, %"] == "82.3 [81.9, 82.7]"
    assert row["the defense"] == NEVER["above"]
