"""The strongest attack of a cell: a winner for each metric, chosen without what it reports."""

import contextlib
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from dpbench.attacks import Lira, NotApplicable
from dpbench.game.attack import AttackJob
from dpbench.game.ensemble import EnsembleJob
from dpbench.game.evaluate import EvaluateJob
from dpbench.game.membership_game import MembershipGame
from dpbench.game.strongest import StrongestJob
from dpbench.jobs.job import Job, unkeyed
from dpbench.metrics import evaluate
from dpbench.metrics.strength import METRICS, chosen_by
from dpbench.seeds import rng_for
from dpbench.study.context import Context
from dpbench.study.plan import make_plan
from tests.tiny import context_of

MODELS, POINTS = 32, 500


class FixedGame(MembershipGame):
    """A game with given bits, whatever its seed says."""

    def __init__(self, context: Context, members) -> None:
        super().__init__(population=context.population, seed=context.grid.seed)
        object.__setattr__(self, "bits", members)

    @property
    def challenges(self):
        return self.bits.shape[1]

    def challenge_members(self, models):
        return self.bits[:models]


@dataclass(frozen=True, kw_only=True, eq=False)
class GivenScores(Job):
    """An attack whose scores are already in the store."""

    kind: ClassVar[str] = "attack"
    label: ClassVar[str] = "given scores"
    seconds: ClassVar[float] = 1.0
    attack: ClassVar[Lira] = Lira()

    number: int
    within_folds: bool
    game: FixedGame = unkeyed()

    @property
    def target(self):
        models = SimpleNamespace(n_models=len(self.game.bits))
        return SimpleNamespace(models=models, observe=SimpleNamespace(label="the cell"))

    def run(self, inputs):
        raise AssertionError("it is finished")


class Cell:
    """A cell whose attacks' scores are given."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.members = np.random.default_rng(0).random((MODELS, POINTS)) < 0.5
        self.game = FixedGame(context, self.members)
        context.store.create()
        self.jobs: list[EvaluateJob] = []

    def run(self, job):
        return job.run(self.context.results(job))

    def keep(self, job):
        output = self.run(job)
        self.context.store.publish(job.key, dict(output.record), output.arrays)
        return job

    def record(self, number):
        return self.context.store.record(self.jobs[number].key)

    def attack(self, scores, within=None):
        """Adds an attack with these scores, and others for what is chosen within folds."""
        number = len(self.jobs)
        whole = GivenScores(number=number, within_folds=False, game=self.game)
        apart = whole if within is None else replace(whole, within_folds=True)
        for job, array in ((whole, scores), (apart, within)):
            if array is not None:
                self.context.store.publish(job.key, {}, {"scores": array.astype(np.float32)})
        job = EvaluateJob(scores=whole, selection=apart, source=apart, delta=0.0)
        self.jobs.append(self.keep(job))
        return self

    def strongest(self, *more):
        return dict(self.run(StrongestJob(candidates=(*self.jobs, *more), delta=0.0)).record)

    def best(self):
        ensemble = EnsembleJob(candidates=tuple(self.jobs), delta=0.0)
        with contextlib.suppress(NotApplicable):
            self.keep(ensemble)
        return self.strongest(ensemble)


@pytest.fixture
def cell(tmp_path):
    return Cell(context_of(tmp_path))


def noise(seed, shape=(MODELS, POINTS)):
    return np.random.default_rng(seed).normal(size=shape)


def everybody(cell):
    return noise(1) + 0.8 * cell.members


def few(cell):
    sure = np.random.default_rng(2).random(cell.members.shape) < 0.05
    return noise(3) + 20 * (cell.members & sure)


def reported(cell, scores):
    return evaluate(
        scores.astype(np.float32),
        cell.members,
        rng=rng_for(cell.context.grid.seed, "bootstrap"),
        models=np.arange(1, MODELS, 2),
    ).row()


def test_each_metric_has_the_numbers_of_its_own_winner(cell):
    scores = [everybody(cell), few(cell)]
    cell.attack(scores[0]).attack(scores[1])
    found = cell.best()
    winners = found["winners"]
    assert set(winners) == set(METRICS)
    assert winners["tpr_at_fpr_0.001"] == 1
    rows = {number: reported(cell, values) for number, values in enumerate(scores)}
    for name, value in found.items():
        metric = chosen_by(name)
        if metric and winners[metric] in rows:
            np.testing.assert_equal(value, rows[winners[metric]][name])
    assert found["tpr_at_fpr_0.001"] > rows[0]["tpr_at_fpr_0.001"]


def test_the_ensemble_competes(cell):
    """Two attacks that err independently are stronger together than either."""
    for seed in (4, 5):
        cell.attack(noise(seed) + 0.8 * cell.members)
    found = cell.best()
    assert found["winners"]["advantage"] == found["winners"]["auc"] == 2
    single = reported(cell, noise(4) + 0.8 * cell.members)
    assert found["advantage_low"] > single["advantage"]


def test_what_the_choice_is_made_by_knows_no_bit_of_the_reporting_half(cell):
    """An attack whose scores are the odd models' bits in disguise would win by them."""
    leaky = noise(6)
    leaky[1::2] += 5 * cell.members[1::2]
    cell.attack(everybody(cell)).attack(leaky)
    assert 1 not in cell.best()["winners"].values()


def test_scores_within_folds_choose_and_those_with_all_shadows_are_reported(cell):
    full, within = everybody(cell), noise(7)
    cell.attack(full, within).attack(noise(8) + 0.3 * cell.members)
    found = cell.best()
    assert found["winners"]["auc"] != 0, "by what it does within folds, the first is worthless"


@pytest.mark.parametrize("strong", [True, False])
def test_an_attack_on_part_of_a_cell_wins_where_it_ran_if_it_is_stronger_there(cell, strong):
    part = noise(9, (8, 400)) + (2.0 if strong else 0.2) * cell.members[:8, :400]
    cell.attack(noise(10) + 0.5 * cell.members).attack(part)
    found = cell.best()
    if strong:
        assert found["winners"]["advantage"] == 1
        assert "given scores: won on 8 models and 400 points of the cell" in found["notes"]
        whole = reported(cell, noise(10) + 0.5 * cell.members)
        assert found["advantage_low"] > whole["advantage_high"]
        wide = found["advantage_high"] - found["advantage_low"]
        assert wide > whole["advantage_high"] - whole["advantage_low"]
    else:
        assert found["winners"]["advantage"] != 1
        assert not found["notes"]


def test_luck_seldom_makes_an_attack_on_part_of_a_cell_win(tmp_path):
    won = 0
    for seed in range(12):
        cell = Cell(context_of(tmp_path / str(seed)))
        signal = 0.5 * cell.members
        cell.attack(noise([11, seed]) + signal)
        cell.attack(noise([12, seed], (8, 200)) + signal[:8, :200])
        won += cell.best()["winners"]["advantage"] == 1
    assert won <= 5


def test_no_headline_is_resolvedly_below_a_row(cell):
    cell.attack(everybody(cell)).attack(few(cell)).attack(noise(13, (8, 300)))
    found = cell.best()
    for scores in (everybody(cell), few(cell)):
        row = reported(cell, scores)
        for metric in ("advantage", "auc", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001"):
            assert found[f"{metric}_high"] >= row[f"{metric}_low"]


def within_folds(context) -> AttackJob:
    return next(
        job
        for job in make_plan(context).jobs.values()
        if isinstance(job, AttackJob) and job.within_folds and job.attack == Lira()
    )


def test_scores_within_folds_use_no_bit_of_the_other_fold(tmp_path, monkeypatch):
    context = context_of(tmp_path, defenses=["none"], attacks=["lira"], models=16)
    job = within_folds(context)
    rng = np.random.default_rng(0)
    members = context.challenge_members
    outputs = rng.dirichlet(np.ones(26), size=(16, members.shape[1])).astype(np.float32)
    context.store.create()
    context.store.publish(
        job.target.observe.key,
        {},
        {"outputs": outputs, "test_correct": np.zeros((16, 25), np.uint8)},
    )
    before = job.run(context.results(job)).arrays["scores"]
    flipped = members.copy()
    flipped[1] ^= True
    monkeypatch.setattr(MembershipGame, "challenge_members", lambda game, models: flipped)
    after = job.run(context.results(job)).arrays["scores"]
    assert np.array_equal(before[0::2], after[0::2])
    assert np.array_equal(before[1], after[1]), "a target's own bits"
    assert not np.array_equal(before[3::2], after[3::2])


def test_folds_too_small_for_an_attack_are_said_so(cell):
    cell.attack(everybody(cell), np.zeros((0, 0)))
    record = cell.record(0)
    assert record["notes"] == [
        "too few models in each half: thresholds were chosen with the targets' own bits"
    ]
    assert record["advantage"] > 0.2


def test_a_winner_tells_of_ties_only_where_it_won_that_rate(cell):
    """Labels win the advantage; scores, that at 0.1 % are no guesses, the low rates."""
    labels = (np.random.default_rng(20).random(cell.members.shape) < 0.3 + 0.4 * cell.members) * 1.0
    cell.attack(labels).attack(few(cell))
    row = cell.record(0)
    assert any("mostly guessed" in note for note in row["notes"])
    found = cell.strongest()
    assert (found["winners"]["advantage"], found["winners"]["tpr_at_fpr_0.001"]) == (0, 1)
    assert not any("mostly guessed" in note for note in found["notes"])
