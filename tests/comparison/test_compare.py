"""Planted defenses beside the baselines of one small run: the verdicts are known."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import dpbench
from dpbench.comparison.compare import (
    BETTER,
    BEYOND,
    COARSE,
    SHORT,
    UNRESOLVED,
    WORSE,
    compare,
    table,
    verdict,
)
from dpbench.comparison.plan import folder_name, plan_comparison
from dpbench.comparison.sentence import headline, sentence
from dpbench.comparison.sentence import verdict as overall
from dpbench.component import REGISTRIES, register
from dpbench.defenses import Defense, DpSgd
from dpbench.errors import UserError
from dpbench.jobs.store import COMPARISONS, Store
from dpbench.metrics import Interval
from dpbench.study import execution
from dpbench.study.context import Context
from dpbench.study.spec import read_grid

GRID = {
    "name": "small",
    "population": {"dataset": "letter", "pool": 500, "test": 500, "reference": 300},
    "model": {"name": "mlp", "hidden": [64]},
    "recipe": {"epochs": 40, "batch_size": 16, "lr": 0.1},
    "canaries": {"kind": "mislabelled", "count": 100},
    "models": 16,
    "seed": 0,
    "defenses": [
        "none",
        {"dp_sgd": {"epsilon": [4, 60, 160, 1000]}},
        {"early_stopping": {"epochs": 3}},
    ],
    "attacks": ["gap", "malt", "lira"],
}


FOUND: dict[str, list] = {}


@dataclass(frozen=True, kw_only=True)
class PlantedNothing(Defense):
    """Does nothing."""

    strength: float = 1.0


@dataclass(frozen=True, kw_only=True)
class PlantedDisguise(DpSgd):
    """DP-SGD under another name."""


@dataclass(frozen=True, kw_only=True)
class PlantedMask(Defense):
    """Squeezes all confidences together, and keeps every label."""

    reported: ClassVar = {"its authors, table 1": "advantage 0.01"}
    strength: float = 0.999

    def release(self, outputs):
        return outputs * (1 - self.strength) + self.strength / outputs.shape[-1]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The baselines, and a comparison of all planted defenses in one run."""
    before = dict(REGISTRIES["defense"])
    for planted in (PlantedNothing, PlantedDisguise, PlantedMask):
        register(planted)
    folder = tmp_path_factory.mktemp("run")
    (folder / "small.yaml").write_text(json.dumps(GRID))
    run_in(folder, read_grid(folder / "small.yaml"), Store(folder / "store"))
    base = dpbench.load(folder)
    asked = ["planted_nothing", "planted_disguise: {epsilon: [4, 100]}", "planted_mask"]
    planned = plan_comparison(base.context.grid, asked)
    out = folder / COMPARISONS / "planted"
    out.mkdir(parents=True)
    known = base.context.store.finished()
    run_in(out, planned.grid, Store.of(out))
    yield dpbench.load(out), planned, known
    REGISTRIES["defense"].clear()
    REGISTRIES["defense"].update(before)


def run_in(folder: Path, grid, store):
    context = Context(grid=grid, store=store)
    plan = execution.prepare(context, folder)
    outcome = execution.execute(context, plan, folder, workers=0, report=lambda states: None)
    assert not outcome.failures


def of(finished, name):
    run, planned, _ = finished
    if name not in FOUND:
        cells = [cell for cell in planned.compared if cell.name == name]
        FOUND[name] = compare(run, cells).found
    return FOUND[name]


def only(found, **wanted):
    return [one for one in found if all(getattr(one, k) == v for k, v in wanted.items())]


def test_nothing_of_the_run_is_done_again(finished):
    run, _, known = finished
    assert run.context.store.root == run.folder.parent.parent / "store"
    assert known < run.context.store.finished()
    assert not (run.folder / "store").exists()


def test_a_defense_that_does_nothing_is_no_better_than_none(finished):
    found = of(finished, "planted_nothing")
    for one in only(found, rival="none"):
        assert one.difference == one.accuracy_difference == (0, 0, 0)
    worse = only(found, rival="dp_sgd", metric="advantage", track="canary")
    assert [one.verdict for one in worse] == [WORSE]
    assert "no cell is shown to leak less than no defense" in overall(found, models=16).lower()


def test_dp_sgd_in_disguise_ties(finished):
    found = only(of(finished, "planted_disguise"), rival="dp_sgd")
    assert {one.verdict for one in only(found, track="average")} == {UNRESOLVED}
    twin = only(found, cell="planted_disguise(epsilon=4)")
    # The same training: its twin is a point of the frontier.
    for one in twin:
        assert one.where == "dp_sgd(epsilon=4)"
        assert one.difference.value == pytest.approx(0, abs=1e-6)


def test_a_mask_loses_to_the_adversary_who_knows_it(finished):
    found = of(finished, "planted_mask")
    worst = only(found, rival="dp_sgd", track="canary", metric="advantage")
    assert [one.verdict for one in worst] == [WORSE]
    assert "It leaks more than DP-SGD" in overall(found, models=16)


def test_every_metric_of_both_tracks_has_its_rivals(finished):
    found = of(finished, "planted_mask")
    assert {one.track for one in found} == {"average", "canary"}
    assert {one.rival for one in only(found, metric="advantage")} == {
        "dp_sgd",
        "best other",
        "none",
    }
    shown = headline(found)
    assert {one.track for one in shown} == {"canary"}
    assert {one.metric for one in shown} == {"tpr_at_fpr_0.01"}


def test_the_table_has_limits_for_every_number(finished):
    rows = table(of(finished, "planted_disguise"))
    for name in ("accuracy", "leak", "rival_leak", "difference", "simultaneous"):
        assert (rows[f"{name}_low"] <= rows[name] + 1e-9).all()
        assert (rows[name] <= rows[f"{name}_high"] + 1e-9).all()
    assert (rows["simultaneous_high"] >= rows["simultaneous_low"]).all()


def test_a_sentence_has_all_its_numbers(finished):
    one = only(of(finished, "planted_mask"), rival="dp_sgd", metric="advantage", track="canary")[0]
    text = sentence(one, models=16)
    for part in (
        f"{100 * one.accuracy.value:.1f} % accuracy",
        f"[{100 * one.leak.low:.1f}, {100 * one.leak.high:.1f}]",
        f"[{100 * one.difference.low:+.1f}, {100 * one.difference.high:+.1f}]",
        "worse than DP-SGD",
        one.attack,
    ):
        assert part in text


LOW, NONE, HIGH = Interval(-2, -3, -1), Interval(0, -1, 1), Interval(2, 1, 3)
EQUAL = Interval(0, -0.004, 0.004)


@pytest.mark.parametrize(
    ("difference", "accuracy", "stricter", "looser", "word"),
    [
        (HIGH, EQUAL, HIGH, HIGH, WORSE),
        (HIGH, NONE, HIGH, HIGH, BEYOND),  # it may be the more accurate one
        (HIGH, LOW, HIGH, HIGH, WORSE),
        (HIGH, HIGH, HIGH, HIGH, BEYOND),
        (LOW, EQUAL, LOW, LOW, BETTER),
        (LOW, NONE, LOW, LOW, SHORT),  # it may be the less accurate one
        (LOW, HIGH, LOW, LOW, BETTER),
        (LOW, LOW, LOW, LOW, SHORT),
        (NONE, LOW, HIGH, LOW, UNRESOLVED),
        (HIGH, NONE, HIGH, NONE, COARSE),
        (LOW, NONE, NONE, LOW, COARSE),
    ],
)
def test_verdicts(difference, accuracy, stricter, looser, word):
    assert verdict(difference, accuracy, stricter, looser) == word


@given(value=st.floats(-1, 1), parts=st.tuples(*[st.floats(0, 1)] * 4))
def test_noise_in_accuracy_never_makes_a_claim(value, parts):
    low, high = value - parts[0], value + parts[1]
    for leak, claim in ((HIGH, WORSE), (LOW, BETTER)):
        narrow = verdict(leak, Interval(value, low, high), leak, leak)
        wide = verdict(leak, Interval(value, low - parts[2], high + parts[3]), leak, leak)
        assert wide != claim or narrow == claim


def test_a_defense_more_accurate_than_any_dp_sgd_is_not_said_to_be_equally_accurate(finished):
    one = only(of(finished, "planted_mask"), rival="dp_sgd", metric="advantage", track="average")[0]
    apart = dataclasses.replace(
        one,
        accuracy=Interval(0.265, 0.25, 0.28),
        rival_accuracy=Interval(0.232, 0.22, 0.24),
        accuracy_difference=Interval(0.033, 0.02, 0.046),
        equal_leak_difference=Interval(0.051, 0.03, 0.07),
        equal_leak_gap=Interval(0.0, -0.01, 0.01),
        verdict=BEYOND,
    )
    text = sentence(apart, models=16)
    assert "at 26.5 % accuracy leaks" in text
    assert "DP-SGD at 23.2 % accuracy leaks" in text
    assert text.endswith(
        "accuracies differ by +3.3 [+2.0, +4.6] points; at equal leak by +5.1 [+3.0, +7.0]"
    )
    for changes, place in (
        ({}, "at higher accuracy"),
        ({"accuracy_difference": Interval(-0.033, -0.046, -0.02)}, "at lower accuracy"),
        ({"accuracy_difference": Interval(0.01, -0.01, 0.03)}, "at an accuracy that may differ"),
    ):
        said = overall([dataclasses.replace(apart, **changes)], models=16)
        assert said.startswith(f"It leaks more than DP-SGD {place}. ")
        assert "equal accuracy" not in said
    tie = dataclasses.replace(apart, verdict=UNRESOLVED)
    assert "equal accuracy" not in overall([tie], models=16)


def test_where_neither_accuracy_nor_leak_is_reached_both_gaps_are_said(finished):
    one = only(of(finished, "planted_mask"), rival="dp_sgd", metric="advantage", track="average")[0]
    apart = dataclasses.replace(one, accuracy_difference=Interval(0.03, 0.02, 0.04))
    beyond = dataclasses.replace(apart, equal_leak_gap=Interval(0.1, 0.05, 0.15))
    assert "no strength leaks as much: the nearest is +10.0" in sentence(beyond, models=16)
    single = dataclasses.replace(apart, equal_leak_gap=None, equal_leak_difference=None)
    assert "nothing can be read off a single strength" in sentence(single, models=16)


def test_equal_accuracy_is_said_only_where_it_was_measured(finished):
    for name in ("planted_nothing", "planted_disguise", "planted_mask"):
        for one in of(finished, name):
            equal = abs(one.accuracy.value - one.rival_accuracy.value) <= 0.005
            assert equal or "equal accuracy" not in sentence(one, models=16)
            assert f"{100 * one.rival_accuracy.value:.1f} % accuracy" in sentence(one, models=16)


def test_dp_sgd_in_disguise_between_distant_strengths_is_not_called_better(finished):
    """At epsilon 100 the line from 60 to 160 need not be where DP-SGD is."""
    (one,) = only(
        of(finished, "planted_disguise"),
        rival="dp_sgd",
        cell="planted_disguise(epsilon=100)",
        metric="advantage",
        track="average",
    )
    assert one.looser.value < one.difference.value < one.stricter.value
    assert one.looser.low < 0 < one.stricter.high
    assert one.verdict in (UNRESOLVED, COARSE)


def test_a_difference_that_hangs_on_the_course_between_strengths_says_so(finished):
    one = only(of(finished, "planted_disguise"), rival="dp_sgd")[0]
    text = sentence(dataclasses.replace(one, verdict=COARSE), models=16)
    assert "not decided, since DP-SGD may bend between these strengths" in text
    assert "run strengths between them" in text


def test_a_difference_that_is_not_resolved_says_how_many_models_would(finished):
    one = only(of(finished, "planted_disguise"), rival="dp_sgd")[0]
    for needed, said in ((130.2, "about 140 would"), (float("inf"), "another pool")):
        assert said in sentence(dataclasses.replace(one, models_needed=needed), models=16)


def test_what_the_run_has_is_named_as_the_run_names_it(finished):
    grid = finished[0].context.grid
    family = plan_comparison(grid, ["early_stopping"])
    assert [cell.label for cell in family.compared] == ["early_stopping(epochs=3)"]
    assert family.grid.cells == grid.cells
    new = plan_comparison(grid, ["[l2: {weight_decay: [0.1, 0.2]}, label_only]"])
    assert len(new.compared) == 2
    assert folder_name(new.compared) == "l2+label_only"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["plantd_mask"], "unknown defense 'plantd_mask'"),
        (["planted_mask: {strengh: 1}"], "unknown key 'strengh'"),
        (["planted_mask: {"], "--defense"),
    ],
)
def test_what_cannot_be_compared_is_refused(finished, asked, message):
    with pytest.raises(UserError, match=message):
        plan_comparison(finished[0].context.grid, asked)


def test_something_must_be_left_to_compare_with(finished):
    grid = finished[0].context.grid
    with pytest.raises(UserError, match="all cells"):
        plan_comparison(grid, [cell.label for cell in grid.cells])
