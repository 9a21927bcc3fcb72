"""The ensemble's row, and attacking the same targets again with other shadows."""

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

import dpbench
from dpbench.attacks import Lira
from dpbench.errors import UserError
from dpbench.jobs.store import Store
from dpbench.metrics import evaluate
from dpbench.seeds import rng_for
from dpbench.study import execution
from dpbench.study.context import Context
from dpbench.study.disparity import disparities, overlaps
from dpbench.study.document import write_document
from dpbench.study.spec import read_grid

GRID = {
    "name": "together",
    "population": {"dataset": "fashion_mnist", "pool": 400, "test": 100, "average_pool": 4},
    "model": {"name": "softmax"},
    "recipe": {"epochs": 30, "batch_size": 32, "lr": 0.2, "momentum": 0.9},
    "models": 24,
    "seed": 0,
    "defenses": ["none", {"temperature": {"temperature": 5.0}}],
    "attacks": ["gap", "malt", "mast", "lira", "gradient_norm"],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("together")
    write_document(GRID, out / "grid.yaml")
    context = Context(grid=read_grid(out / "grid.yaml"), store=Store(out / "store"))
    plan = execution.prepare(context, out)
    execution.execute(context, plan, out, workers=0, report=lambda states: None)
    return dpbench.load(out)


def row(run, cell, attack, knowledge="adaptive"):
    rows = run.attacks.query("cell == @cell and attack == @attack and knowledge == @knowledge")
    assert len(rows) == 1
    return rows.iloc[0]


def test_every_models_score_is_combined_by_what_the_other_half_taught(run):
    scores, members = run.scores("none", "ensemble")
    source = run.attack_scores("none", "ensemble").source
    again = evaluate(scores, members, rng=rng_for(0, "bootstrap"), source_scores=source)
    found = row(run, "none", "ensemble")
    assert found["auc"] == pytest.approx(again.auc.value)
    assert found["advantage_low"] == pytest.approx(again.advantage.low)
    names = json.loads(found["attack_params"])["attacks"]
    assert names == ["gap", "malt", "mast", "lira", "gradient_norm"]
    assert found["access"] == "white_box"
    assert found["queries"] == 5
    assert found["shadows"] == 23


def test_it_is_not_much_worse_than_its_best_part(run):
    for cell in ("none", "temperature"):
        assert row(run, cell, "ensemble")["auc"] > row(run, cell, "best")["auc"] - 0.02


def test_behind_a_mask_it_does_not_hold_the_weights(run):
    names = json.loads(row(run, "temperature", "ensemble")["attack_params"])["attacks"]
    assert "gradient_norm" not in names
    assert row(run, "temperature", "ensemble")["access"] == "score"


def test_an_instance_is_the_attack_on_a_target_and_its_share_of_the_shadows(run):
    job = next(r.scores for r in run.cell("none").rows if r.attack == Lira())
    company = np.array([3, 0, 5, 9, 13, 17, 21])
    view = job.view(run.context.results(job), company, instance=1)
    outputs = run.outputs("none")
    assert np.array_equal(view.target.scores(), outputs[company])
    assert np.array_equal(view.members, run.context.challenge_members[company])
    again = job.view(run.context.results(job), company).target.scores(view.inputs)
    np.testing.assert_allclose(again, outputs[company], atol=1e-6)


def test_coverage_and_stability_of_attacks_that_use_shadows_and_of_those_that_do_not(run):
    table = disparities(run, "none", fpr=0.05, instances=2, targets=6).set_index("attack")
    assert list(table.index) == ["gap", "malt", "mast", "lira"]
    assert table["instances"].tolist() == [1, 1, 2, 2]
    for attack in ("mast", "lira"):
        shown = table.loc[attack]
        assert 0 < shown["stability"] < shown["tpr"] < shown["coverage"]
    assert table.loc["malt", "stability"] == table.loc["malt", "coverage"]
    assert np.isnan(table.loc["malt", "jaccard"])
    pairs = overlaps(run, "none", fpr=0.05)
    assert np.allclose(pairs, pairs.T, equal_nan=True)
    assert pairs.loc["lira", "lira"] == 1
    assert pairs.loc["lira", "mast"] > pairs.loc["lira", "malt"]


def test_too_few_shadows_for_so_many_instances(run):
    with pytest.raises(UserError, match="too few shadows"):
        disparities(run, "none", instances=8)


def test_a_rate_that_so_few_non_members_cannot_show(run):
    with pytest.raises(UserError, match=r"fpr: 0.0001 cannot be told from \d+ non-members"):
        disparities(run, "none", fpr=1e-4, instances=2, targets=4)


def test_the_command_prints_the_table_and_keeps_it(run):
    line = [sys.executable, "-m", "dpbench.cli", "disparity", str(run.folder)]
    options = ["--fpr", "0.05", "--instances", "2", "--targets", "4"]
    result = subprocess.run(line + options, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    assert "coverage" in result.stdout
    assert "again: lira" in result.stderr
    kept = pd.read_csv(run.folder / "tables" / "disparity.csv")
    assert kept["attack"].tolist() == ["gap", "malt", "mast", "lira"]
    result = subprocess.run([*line, "--cell", "nome"], capture_output=True, text=True, timeout=300)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
