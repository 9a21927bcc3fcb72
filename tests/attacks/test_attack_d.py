"""Attack D: ranks among students by hand, and students that are really distilled."""

import numpy as np
import pytest
from scipy.stats import norm

import dpbench
from dpbench.attacks import Access, AttackD, NotApplicable
from dpbench.attacks.attack_d import standing
from dpbench.jobs.store import Store
from dpbench.study import execution
from dpbench.study.context import Context
from dpbench.study.document import write_document
from dpbench.study.spec import read_grid
from dpbench.testing import auc, check_attack, plant

GRID = {
    "name": "students",
    "population": {"dataset": "fashion_mnist", "pool": 300, "test": 100, "average_pool": 4},
    "model": {"name": "softmax"},
    "recipe": {"epochs": 30, "batch_size": 32, "lr": 0.1, "momentum": 0.9},
    "models": 8,
    "seed": 0,
    "defenses": ["none", {"temperature": {"temperature": 5.0}}],
    "attacks": ["malt", {"attack_d": {"students": 3}}],
}


@pytest.mark.parametrize("smoothing", ["gaussian", "none"])
def test_contract(smoothing):
    check_attack(AttackD(smoothing=smoothing))


def test_ranks_and_z_scores_by_hand():
    observed = np.array([[1.0, 2.0], [0.0, 5.0]])
    students = np.array([[[0.0, 3.0], [1.0, 1.0]], [[1.0, 4.0], [2.0, 4.0]]])
    share = standing(observed, students, "none")
    np.testing.assert_array_equal(share, [[0.75, 0.5], [0.0, 1.0]])
    z = standing(observed, students, "gaussian")
    # Variances 1/2 and 2 of target 0, 1/2 and 0 of target 1, averaged over its points.
    deviations = np.sqrt([1.25, 0.25])
    np.testing.assert_allclose(z, [[0.5 / deviations[0], 0], [-1.5 / deviations[1], 2.0]])


def test_it_finds_what_students_of_known_difficulty_allow():
    planted = plant(models=40, points=500, effect=2.0, seed=1)
    attack = AttackD(students=20)
    view = planted.view(access=Access.SCORE, students=20)
    # The students' mean confidence has variance 1/20: it blurs the best attack by that much.
    best = norm.cdf(2.0 / np.sqrt(2 * (1 + 1 / 20)))
    assert auc(attack.score(view), planted.members) == pytest.approx(best, abs=0.01)


def test_without_students_there_is_no_attack():
    view = plant(models=4, points=10, effect=1.0, seed=0).view(access=Access.SCORE)
    with pytest.raises(NotApplicable, match="students"):
        AttackD().score(view)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("students")
    write_document(GRID, out / "grid.yaml")
    context = Context(grid=read_grid(out / "grid.yaml"), store=Store(out / "store"))
    plan = execution.prepare(context, out)
    execution.execute(context, plan, out, workers=0, report=lambda states: None)
    return dpbench.load(out)


def test_students_agree_with_their_own_target(run):
    row = next(row for row in run.plan.cells[0].rows if row.attack == AttackD(students=3))
    view = row.scores.view(run.context.results(row.scores))
    students, targets = view.students(), view.target.scores()
    assert students.shape == (8, 3, *targets.shape[1:])
    np.testing.assert_allclose(students.sum(-1), 1, rtol=1e-5)
    # A student is nearer to its own target than to the others, on points that neither has seen.
    mean = students.mean(1)
    near = np.abs(mean[:, None] - targets[None]).mean((2, 3))
    assert (near.argmin(1) == np.arange(8)).mean() >= 0.75


def test_its_row_counts_the_lessons_and_beats_one_threshold(run):
    rows = run.attacks.query("cell == 'none' and knowledge == 'adaptive'").set_index("attack")
    assert rows.loc["attack_d", "status"] == "done"
    assert rows.loc["attack_d", "queries"] == 2
    assert rows.loc["attack_d", "shadows"] == 0
    assert rows.loc["attack_d", "auc"] > rows.loc["malt", "auc"] + 0.02


def test_an_informed_adversary_teaches_its_students_the_unmasked_answers(run):
    rows = run.attacks.query("attack == 'attack_d' and cell == 'temperature'")
    plain = run.attacks.query("attack == 'attack_d' and cell == 'none'").iloc[0]
    rows = rows.set_index("knowledge")
    assert rows.loc["adaptive", "auc"] == pytest.approx(plain["auc"], abs=0.01)
    assert rows.loc["static", "auc"] != rows.loc["adaptive", "auc"]
