"""Every shipped expectation file against the plans of its grids: each number has to be there.

Planning needs data. Where a grid's may be absent, embedded ones stand in: which cells, attacks and
tracks a plan has does not depend on them.
"""

import dataclasses
import re

import pytest

from dpbench.data import PopulationSpec
from dpbench.jobs.store import Store
from dpbench.reproduction.expectation import (
    Measure,
    NotAttempted,
    Paper,
    Reported,
    list_papers,
    measures_of,
    read_paper,
)
from dpbench.reproduction.simulated import GAMES, simulate
from dpbench.reproduction.variants import grid_of
from dpbench.study.context import Context
from dpbench.study.plan import make_plan
from dpbench.study.shipped import find_grid

ACCURACIES = ("test_accuracy", "train_accuracy")
IMAGES = {"fashion_mnist", "mnist", "cifar10"}
PAPERS = sorted(list_papers())


@dataclasses.dataclass(frozen=True)
class Planned:
    """What a grid will have measured."""

    grid: object
    cells: dict

    def lacks(self, measure):
        """Returns what a number names that this grid does not have, or ""."""
        if measure.track not in self.grid.tracks:
            return "track"
        if measure.cell not in self.cells:
            return "cell"
        if measure.metric in ACCURACIES:
            return "" if measure.attack is None else "an accuracy of an attack"
        cell = self.cells[measure.cell]
        cell = cell if measure.track == "average" else cell.canary
        rows = [row for row in cell.rows if row.attack and row.attack.label() == measure.attack]
        if not rows:
            return "attack"
        if measure.knowledge not in {row.knowledge for row in rows}:
            return "knowledge"
        return self.resolves(measure, rows[0].attack)

    def resolves(self, measure, attack):
        """Returns why there are too few scores for this false positive rate, or ""."""
        if not measure.metric.startswith("tpr_at_fpr_"):
            return ""
        canaries = self.grid.canaries
        points = canaries.count if measure.track == "canary" else self.grid.population.pool
        models, points = attack.extent.of(self.grid.models, points)
        few = float(measure.metric.removeprefix("tpr_at_fpr_")) * models * points / 2 < 1
        return "non-member scores for this FPR" if few else ""


def planned(paper, name, folder):
    grid = grid_of(paper, name)
    image = grid.population.dataset in IMAGES
    stand_in = PopulationSpec(
        dataset="fashion_mnist" if image else "adult",
        pool=1200,
        test=100,
        reference=1200,
        average_pool=2 if image else 1,
    )
    small = dataclasses.replace(grid, population=stand_in)
    plan = make_plan(Context(grid=small, store=Store(folder / name)))
    return Planned(grid, {cell.defense.label: cell for cell in plan.cells})


def lacking(paper, plans):
    """Returns `measure: what is not there` for every number without a run."""
    found = []
    for measure in measures_of(paper):
        if measure.grid in paper.simulations:
            what = "" if simulate(measure.grid).has(measure) else "simulation"
        else:
            what = plans[measure.grid].lacks(measure)
        if what:
            found.append(f"{what}: {measure}")
    return found


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    """Returns a function from a paper to its planned grids, each planned once."""
    folder, made = tmp_path_factory.mktemp("plans"), {}

    def of(paper):
        for name in paper.grids:
            key = (name, repr(paper.variants.get(name)))
            if key not in made:
                made[key] = planned(paper, name, folder)
        return {name: made[name, repr(paper.variants.get(name))] for name in paper.grids}

    return of


@pytest.mark.parametrize("name", PAPERS)
def test_every_number_is_of_a_cell_and_an_attack_that_the_plan_has(name, plans):
    paper = read_paper(list_papers()[name])
    assert paper.name == name
    assert list(measures_of(paper))
    assert lacking(paper, plans(paper)) == []


def test_all_papers_are_there():
    assert {
        "aerni", "jayaraman", "label-only", "leino", "lira", "memguard", "sablayrolles",
        "song-mittal",
    } <= set(PAPERS)  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({}, None),
        ({"cell": "l2(weight_decay=7)"}, "cell"),
        ({"attack": "malt(thresholds=per_class)"}, "attack"),
        ({"attack": None}, "attack"),
        ({"track": "canary"}, "track"),
        ({"metric": "test_accuracy"}, "an accuracy of an attack"),
        ({"metric": "tpr_at_fpr_0.001", "attack": "boundary_distance(queries=1000, points=200)"},
         "non-member scores"),
    ],
)  # fmt: skip
def test_a_number_that_is_not_there_is_noticed(changes, what, plans):
    facts = {"grid": "small-cnn", "cell": "none", "attack": "malt", "metric": "advantage"}
    measure = Measure(**facts | changes)
    paper = paper_of(measure, "small-cnn")
    found = lacking(paper, plans(paper))
    assert [one.startswith(what or "") for one in found] == ([] if what is None else [True])


def test_a_static_row_needs_an_undefended_cell(plans):
    paper = paper_of(
        Measure(grid="small-cnn", cell="none", attack="malt", metric="auc"), "small-cnn"
    )
    plan = plans(paper)["small-cnn"]
    static = Measure(grid="small-cnn", cell="none", attack="malt", metric="auc", knowledge="static")
    assert plan.lacks(static) == ""
    rows = tuple(row for row in plan.cells["none"].rows if row.knowledge == "adaptive")
    alone = dataclasses.replace(plan.cells["none"], rows=rows)
    assert Planned(plan.grid, {"none": alone}).lacks(static) == "knowledge"


def paper_of(measure, grid):
    one = Reported(what="w", value=0.5, source="V", ours=measure)
    return Paper(name="p", citation="P 2020", scale="small", grids=(grid,), reported=(one,))


@pytest.mark.parametrize("name", PAPERS)
def test_sources_have_a_provenance_code_and_none_is_unreliable(name):
    paper = read_paper(list_papers()[name])
    for line in (*paper.reported, *paper.orderings, *paper.not_attempted):
        assert re.match(r"(V\*?|R|R-[mh])(,|$)|not the paper's; why ", line.source), line
        # A reason names its evidence: a page, or lines of the same page.
        reason = "" if isinstance(line, NotAttempted) else line.because
        assert not reason or re.search(r"docs/|MLP|\blines?\b", reason), line


@pytest.mark.parametrize("name", PAPERS)
def test_grids_say_what_they_ask_and_what_they_cost(name):
    paper = read_paper(list_papers()[name])
    for grid in paper.grids:
        variant = paper.variants.get(grid)
        text = find_grid(variant.of if variant else grid).read_text(encoding="utf-8")
        header = text[: text.index("\nname:")]
        assert header.startswith("# ")
        assert "Cost:" in header
        assert "Command:" in header


def test_every_game_is_used():
    used = {name for path in list_papers().values() for name in read_paper(path).simulations}
    assert used == set(GAMES)
