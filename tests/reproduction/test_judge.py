"""Verdicts on published numbers: the rules, and a run judged end to end."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dpbench
from dpbench.errors import UserError
from dpbench.metrics import Interval
from dpbench.reproduction.expectation import (
    Measure,
    Ordering,
    Paper,
    Reported,
    read_paper,
)
from dpbench.reproduction.judge import (
    DIFFERS,
    FAILS,
    HOLDS,
    MATCH,
    MISSING,
    OPEN,
    SHOWN,
    equivalence,
    judge,
)
from dpbench.reproduction.measured import RunNumbers
from dpbench.reproduction.page import page, table
from dpbench.study.shipped import EXPECTATION
from tests.tiny import run_tiny

SMALL = Measure(grid="g", cell="small", metric="advantage", attack="malt")
LARGE = Measure(grid="g", cell="large", metric="advantage", attack="malt")


class Known:
    """Numbers that are given."""

    def __init__(self, values, gap=None):
        self.values, self.gap = values, gap

    def of(self, measure):
        if measure.cell not in self.values:
            raise UserError(f"{measure.cell}: no result")
        return self.values[measure.cell]

    def difference(self, more, than, factor):
        return self.gap


def paper(**parts):
    facts = {"name": "p", "citation": "P 2020", "scale": "small", "grids": ("g",)}
    return Paper(**facts, **parts)


def verdicts(one, numbers):
    return [line.verdict for line in judge(one, lambda name: numbers)]


@pytest.mark.parametrize(
    ("value", "within", "verdict"),
    [
        (0.26, 0.06, MATCH),
        (0.26, 0.05, OPEN),  # the interval reaches beyond 0.31
        (0.25, 0.0, OPEN),
        (0.33, 0.02, OPEN),  # the tolerance meets the interval: no match, and no difference
        (0.33, 0.009, DIFFERS),
        (0.1, 0.05, DIFFERS),
        (0.9, None, SHOWN),
    ],
)
def test_a_number_matches_where_its_tolerance_holds_our_whole_interval(value, within, verdict):
    one = Reported(what="w", value=value, source="s", ours=SMALL, within=within)
    numbers = Known({"small": Interval(0.25, 0.2, 0.32)})
    assert verdicts(paper(reported=(one,)), numbers) == [verdict]


def test_a_number_without_noise_matches_by_its_value_alone():
    assert equivalence(Interval(0.5, 0.5, 0.5), 0.5, 0.0) == MATCH
    assert equivalence(Interval(0.5, 0.5, 0.5), 0.49, 0.0) == DIFFERS


NUMBER, WIDTH = st.floats(-1, 1), st.floats(0, 2)


@given(value=NUMBER, within=WIDTH, centre=NUMBER, parts=st.tuples(WIDTH, WIDTH, WIDTH, WIDTH))
def test_a_wider_interval_never_makes_a_match_or_a_difference(value, within, centre, parts):
    down, up, further_down, further_up = parts
    narrow = Interval(centre, centre - down, centre + up)
    wide = Interval(centre, narrow.low - further_down, narrow.high + further_up)
    before, after = (equivalence(ours, value, within) for ours in (narrow, wide))
    assert after in (before, OPEN)


@given(margin=NUMBER, centre=NUMBER, parts=st.tuples(WIDTH, WIDTH, WIDTH, WIDTH))
def test_a_wider_interval_never_makes_a_statement_hold_or_fail(margin, centre, parts):
    down, up, further_down, further_up = parts
    half = Interval(0.5, 0.5, 0.5)
    found = []
    for low, high in ((down, up), (down + further_down, up + further_up)):
        one = Ordering(claim="c", source="s", more=LARGE, than=SMALL, margin=margin)
        gap = Interval(centre, centre - low, centre + high)
        found += verdicts(paper(orderings=(one,)), Known({"large": half, "small": half}, gap))
    assert found[1] in (found[0], OPEN)


@pytest.mark.parametrize(("away", "most"), [(0.0, 1.0), (0.05, 0.03), (0.1, 0.001)])
def test_noise_makes_matches_rarer(away, most):
    """Our number is Gaussian around a truth that lies `away` from the published one."""
    noise = np.random.default_rng(0).standard_normal(4000)
    rates = []
    for error in (0.005, 0.01, 0.02, 0.04, 0.08):
        ours = 0.5 + away + error * noise
        limits = zip(ours, ours - 1.96 * error, ours + 1.96 * error, strict=True)
        rates.append(np.mean([equivalence(Interval(*one), 0.5, 0.05) == MATCH for one in limits]))
    assert max(rates) <= most
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == 0.0  # half the interval's width is three times the tolerance


@pytest.mark.parametrize(
    ("value", "within", "note"),
    [
        (0.33, 0.0, "tolerance 0; other data"),
        (0.3, 0.1, "tolerance 0.1"),
        (0.26, 0.06, "tolerance 0.06"),
        (0.3, 0.0, "tolerance 0, less than the interval's half-width: no value could match"),
    ],
)
def test_a_reason_is_given_only_for_a_number_that_differs(value, within, note):
    one = Reported(
        what="w", value=value, source="s", ours=SMALL, within=within, because="other data"
    )
    (line,) = judge(
        paper(reported=(one,)), lambda name: Known({"small": Interval(0.25, 0.2, 0.32)})
    )
    assert line.note == note


@pytest.mark.parametrize(
    ("gap", "margin", "verdict"),
    [
        (Interval(0.2, 0.1, 0.3), 0.0, HOLDS),
        (Interval(0.2, 0.1, 0.3), 0.15, OPEN),
        (Interval(0.2, 0.1, 0.3), 0.4, FAILS),
        (Interval(-0.01, -0.02, 0.01), -0.03, HOLDS),
    ],
)
def test_a_statement_holds_where_the_whole_interval_does(gap, margin, verdict):
    one = Ordering(claim="c", source="s", more=LARGE, than=SMALL, margin=margin)
    half = Interval(0.5, 0.4, 0.6)
    numbers = Known({"large": half, "small": half}, gap)
    assert verdicts(paper(orderings=(one,)), numbers) == [verdict]


def test_a_constant_is_compared_with_the_interval_itself():
    one = Ordering(claim="c", source="s", more=LARGE, than=0.5, factor=2)
    assert verdicts(paper(orderings=(one,)), Known({"large": Interval(1.2, 1.1, 1.3)})) == [HOLDS]


@pytest.mark.parametrize(("bound", "verdict"), [(0.7, HOLDS), (0.5, OPEN), (0.3, FAILS)])
def test_a_bound_may_stand_on_the_larger_side(bound, verdict):
    one = Ordering(claim="c", source="s", more=bound, than=SMALL)
    (line,) = judge(paper(orderings=(one,)), lambda name: Known({"small": Interval(0.5, 0.4, 0.6)}))
    assert line.verdict == verdict
    assert line.ours.startswith(
        f"{bound:g} against 0.500 [0.400, 0.600]; difference {bound - 0.5:.3f}"
    )


def test_runs_of_their_own_are_independent():
    other = Measure(grid="h", cell="small", metric="advantage", attack="malt")
    one = Ordering(claim="c", source="s", more=LARGE, than=other, factor=2)
    numbers = Known({"large": Interval(0.5, 0.47, 0.53), "small": Interval(0.2, 0.18, 0.22)})
    (line,) = judge(paper(orderings=(one,)), lambda name: numbers)
    # 0.5 - 0.4, with half-widths 0.03 and 2 * 0.02.
    assert "difference 0.100 [0.050, 0.150]" in line.ours
    assert line.verdict == HOLDS


def test_what_has_no_result_is_said_and_stops_nothing():
    parts = (
        Reported(what="gone", value=1.0, source="s", ours=LARGE),
        Reported(what="here", value=0.5, source="s", ours=SMALL, within=0.1),
    )
    lines = judge(paper(reported=parts), lambda name: Known({"small": Interval(0.5, 0.4, 0.6)}))
    assert [line.verdict for line in lines] == [MISSING, MATCH]
    assert "no result" in lines[0].note


@pytest.fixture(scope="module")
def numbers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    run_tiny(folder)
    return RunNumbers(dpbench.load(folder / "out"))


def number(cell, metric, attack="malt"):
    return Measure(grid="tiny", cell=cell, metric=metric, attack=attack)


@pytest.mark.parametrize("metric", ["advantage", "auc", "balanced_accuracy", "tpr_at_fpr_0.01"])
def test_numbers_are_those_of_the_tables(numbers, metric):
    rows = numbers._run.attacks
    row = rows[(rows["cell"] == "none") & (rows["attack"] == "malt")].iloc[0]
    found = numbers.of(number("none", metric))
    assert found.value == pytest.approx(row[metric], abs=2e-3 if metric == "auc" else 1e-6)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize("cell", ["none", "l2(weight_decay=0.01)", "label_only"])
@pytest.mark.parametrize("attack", ["gap", "malt", "lira"])
def test_static_attackers_keep_their_own_thresholds(numbers, cell, attack):
    rows = numbers._run.attacks
    picked = (rows["cell"] == cell) & (rows["attack"] == attack) & (rows["knowledge"] == "static")
    (table_value,) = rows.loc[picked, "advantage"]
    one = Measure(grid="tiny", cell=cell, metric="advantage", attack=attack, knowledge="static")
    assert numbers.of(one).value == pytest.approx(table_value, abs=1e-6)


def test_precision_among_the_highest_scores(numbers):
    scores, members = numbers._run.scores("none", "lira")
    highest = np.argsort(scores, axis=None)[::-1][: round(0.01 * scores.size)]
    found = numbers.of(number("none", "precision_of_top_0.01", "lira"))
    assert found.value == pytest.approx(members.ravel()[highest].mean())


def test_accuracies_are_those_of_the_tables(numbers):
    cells = numbers._run.cells.set_index("cell")
    for metric in ("test_accuracy", "train_accuracy"):
        found = numbers.of(Measure(grid="tiny", cell="none", metric=metric))
        assert found.value == pytest.approx(cells.loc["none", metric])


def test_a_mask_does_not_change_labels_at_all(numbers):
    pair = number("none", "advantage", "gap"), number("label_only", "advantage", "gap")
    assert numbers.difference(*pair, 1.0) == (0, 0, 0)
    halved = numbers.difference(*pair, 0.5)
    assert halved.value == pytest.approx(numbers.of(pair[0]).value / 2)


def test_an_attack_that_is_not_there_is_named(numbers):
    with pytest.raises(UserError, match=r"no attack 'salem'\s+allowed: gap, malt"):
        numbers.of(number("none", "advantage", "salem"))


@pytest.mark.parametrize("metric", ["test_accuracy", "train_accuracy"])
def test_a_cell_that_failed_has_no_accuracy(numbers, monkeypatch, metric):
    monkeypatch.setattr(type(numbers._run.context.store), "has", lambda store, key: False)
    with pytest.raises(UserError, match="none has no result"):
        numbers.of(Measure(grid="tiny", cell="none", metric=metric))


def test_a_page_holds_every_line():
    one = Reported(what="a | b", value=0.25, source="V, table 1", ours=SMALL, within=0.1)
    whole = paper(reported=(one,))
    lines = judge(whole, lambda name: Known({"small": Interval(0.25, 0.2, 0.32)}))
    text = page(whole, lines, origins={"g": "dpbench run g"})
    assert "| a \\| b | V, table 1 | 0.25 | 0.250 [0.200, 0.320] | match |" in text
    assert "1 match" in text
    assert list(table({"p": lines})["verdict"]) == [MATCH]


def write(folder, **changes):
    document = {
        "name": "p",
        "citation": "P 2020",
        "scale": "small",
        "grids": ["g"],
        "reported": [
            {
                "what": "w",
                "value": 0.5,
                "source": "s",
                "ours": {"grid": "g", "cell": "none", "metric": "advantage", "attack": "malt"},
            }
        ],
    }
    path = folder / f"p{EXPECTATION}"
    path.write_text(json.dumps(document | changes))
    return path


def test_an_expectation_file_is_read(tmp_path):
    found = read_paper(write(tmp_path))
    assert found.reported[0].ours == Measure(
        grid="g", cell="none", metric="advantage", attack="malt"
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"grids": ["h"]}, "grid 'g' is not in the paper's grids"),
        ({"reportd": []}, "unknown key 'reportd'"),
        ({"orderings": [{"claim": "c"}]}, "missing"),
    ],
)
def test_a_wrong_expectation_file_is_refused(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        read_paper(write(tmp_path, **changes))


def test_replicates_are_finite(numbers):
    draws, _ = numbers._draws(number("none", "auc"))
    assert np.isfinite(draws.models).all()
