"""What the runner does for a defense that declares how an informed adversary meets it."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from dpbench.component import REGISTRIES, register
from dpbench.defenses import Defense, Serving
from dpbench.defenses.base import LABEL_ATTACKS
from dpbench.errors import UserError
from dpbench.models import Softmax
from dpbench.study.plan import make_plan
from dpbench.study.run import load
from dpbench.testing import check_defense
from dpbench.training import fit
from dpbench.training.task import Mechanism
from tests.tiny import context_of, run_tiny

SIGMA = 0.1


@pytest.fixture
def defenses():
    """Registers the defenses below for one test; they must not show up in other tests' lists."""
    before = dict(REGISTRIES["defense"])
    for cls in (Shifted, Jitter, Halves, Doubled, Counted, Undeclared):
        register(cls)
    yield
    REGISTRIES["defense"].clear()
    REGISTRIES["defense"].update(before)


@dataclass(frozen=True, kw_only=True)
class Shifted(Defense):
    """Mixes every answer with what it has learned of its own model: the mean reference answer."""

    reference: ClassVar[str] = "this test"
    keeps_argmax: ClassVar[bool] = False

    def fit_release(self, serving: Serving):
        return {"mean": serving.reference_outputs.mean(1)}

    def release(self, outputs, state):
        return 0.5 * outputs + 0.5 * state["mean"][:, None]


@dataclass(frozen=True, kw_only=True)
class Jitter(Defense):
    """Adds noise that forty answers average away; the labels change."""

    reference: ClassVar[str] = "this test"
    keeps_argmax: ClassVar[bool] = False
    randomised: ClassVar[bool] = True
    repeats: ClassVar[int] = 40
    adaptive_attacks: ClassVar = ({"malt": {}}, "mast")

    def release(self, outputs, generator=None):
        noise = torch.empty_like(outputs).normal_(0, SIGMA, generator=generator)
        return (outputs + noise).clamp_min_(0)


@dataclass(frozen=True, kw_only=True)
class Halves(Defense):
    """Trains twice as long by training again from where the first training ended."""

    reference: ClassVar[str] = "this test"

    def train(self, task, progress=lambda fraction: None):
        from dataclasses import replace

        first = fit(replace(task, seed=task.seed + 1))[task.checkpoints[-1]]
        return fit(replace(task, initial=first), progress)


@dataclass(frozen=True, kw_only=True)
class Doubled(Defense):
    """Gives a linear model every input and its square."""

    reference: ClassVar[str] = "this test"

    def remodel(self, architecture):
        return Softmax()

    def represent(self, inputs):
        flat = inputs.flatten(1)
        return torch.cat([flat, flat.square()], 1)


@dataclass(frozen=True, kw_only=True)
class Counted(Defense):
    """Claims privacy by other means than noisy gradients."""

    reference: ClassVar[str] = "this test"

    def mechanism(self, sampling):
        from dp_accounting import GaussianDpEvent

        return Mechanism(claim=GaussianDpEvent(1.0), delta=1e-5)


@dataclass(frozen=True, kw_only=True)
class Undeclared(Defense):
    """Declares nothing."""

    reference: ClassVar[str] = "this test"

    def prepare(self, data):
        return data._replace(inputs=0.5 * data.inputs)


@pytest.mark.parametrize("cls", [Shifted, Jitter, Halves, Doubled, Counted, Undeclared])
def test_the_contract_knows_every_stage(cls):
    check_defense(cls())


def test_a_release_stage_learns_about_each_model(tmp_path, defenses):
    run_tiny(tmp_path, defenses=["none", "shifted"], attacks=["gap", "malt", "attack_r"])
    run = load(tmp_path / "out")
    raw, seen = run.outputs("none"), run.outputs("shifted")
    left = seen - 0.5 * raw
    # What was mixed in is one vector for each model, and not the same for all.
    np.testing.assert_allclose(left, np.broadcast_to(left[:, :1], left.shape), atol=1e-6)
    assert np.abs(left[0, 0] - left[1, 0]).max() > 1e-3
    guards = [job for job in run.plan.jobs.values() if job.kind == "fit_release"]
    assert len(guards) == 1
    trains = [cell.trains for cell in run.plan.cells]
    assert [job.key for job in trains[0]] == [job.key for job in trains[1]]


def test_an_informed_adversary_averages_random_answers(tmp_path, defenses):
    run_tiny(tmp_path, defenses=["none", "jitter"], attacks=["malt"], models=12)
    run = load(tmp_path / "out")
    open_, adaptive, static = (
        run.scores(cell, "malt", knowledge)[0]
        for cell, knowledge in (("none", "adaptive"), ("jitter", "adaptive"), ("jitter", "static"))
    )
    agreement = [np.corrcoef(open_.ravel(), s.ravel())[0, 1] for s in (adaptive, static)]
    assert agreement[0] > 0.9 > 0.75 > agreement[1]
    rows = run.attacks.set_index(["cell", "attack", "knowledge"])["queries"]
    assert rows["jitter", "malt", "adaptive"] == 40
    assert rows["jitter", "malt", "static"] == 1


def test_declared_attacks_run_adaptively_and_are_named(tmp_path, defenses):
    run_tiny(tmp_path, defenses=["none", "jitter", "undeclared"], attacks=["gap"])
    run = load(tmp_path / "out")
    columns = run.attacks[["cell", "attack", "knowledge"]]
    rows = set(columns.itertuples(index=False, name=None))
    for attack in ("malt", "mast", *LABEL_ATTACKS[1:]):
        assert ("jitter", attack, "adaptive") in rows
        assert ("jitter", attack, "static") not in rows
        assert ("undeclared", attack, "adaptive") not in rows
    adaptive = run.cells.set_index("cell")["adaptive"]
    assert set(adaptive["jitter"].split(", ")) == {
        "shadows", "undo after 40 queries", "malt", "mast", *LABEL_ATTACKS,
    }  # fmt: skip
    assert adaptive["undeclared"] == ""


def test_an_attack_that_does_not_exist_is_explained(tmp_path, defenses, monkeypatch):
    monkeypatch.setattr(Jitter, "adaptive_attacks", ("mostly",))
    with pytest.raises(UserError, match="mostly"):
        make_plan(context_of(tmp_path, defenses=["jitter"]))


def test_a_defense_composes_the_trainer_or_changes_the_network(tmp_path, defenses):
    attacks = ["gap", "lira", "gradient_norm", {"boundary_distance": {"models": 2, "points": 20}}]
    run_tiny(tmp_path, defenses=["none", "halves", "doubled"], attacks=attacks)
    run = load(tmp_path / "out")
    assert set(run.cells["status"]) == {"done"}
    assert set(run.attacks["status"]) == {"done"}
    accuracy = run.cells.set_index("cell")["train_accuracy"]
    assert accuracy["halves"] > accuracy["none"]


def test_features_are_made_once_for_all_blocks_of_a_cell(tmp_path, defenses, monkeypatch):
    seen, real = [], Doubled.represent

    def represent(self, inputs):
        seen.append(len(inputs))
        return real(self, inputs)

    monkeypatch.setattr(Doubled, "represent", represent)
    monkeypatch.setattr("dpbench.training.dense._BLOCK", 1)
    monkeypatch.setattr("dpbench.training.dense._MOST_AT_ONCE", 4)
    context = context_of(tmp_path, defenses=["none", "doubled"])
    trains = [job for job in make_plan(context).jobs.values() if job.kind == "train"]
    seen.clear()
    alone = {job.key: job.run(context.results(job)).arrays for job in trains}
    assert len(trains) == 4
    assert seen.count(150) == 2  # pool and reference set
    monkeypatch.setattr(Doubled, "represent", real)
    again = make_plan(context_of(tmp_path, defenses=["none", "doubled"])).jobs
    for key, arrays in alone.items():
        for name, value in again[key].run(context.results(again[key])).arrays.items():
            np.testing.assert_array_equal(value, arrays[name])


def test_a_claim_needs_no_noisy_gradients(tmp_path, defenses):
    plan = make_plan(context_of(tmp_path, defenses=["none", "counted"]))
    plain, counted = plan.cells
    assert counted.claims
    assert [job.key for job in counted.trains] == [job.key for job in plain.trains]


def test_a_part_that_uses_members_drops_the_claim_and_says_so(tmp_path, defenses):
    noisy = {"dp_sgd": {"noise_multiplier": 1.0, "epochs": 2}}
    run_tiny(tmp_path, defenses=[noisy, [noisy, "shifted"], [noisy, "label_only"]], attacks=["gap"])
    cells = load(tmp_path / "out").cells
    assert list(np.isfinite(cells["epsilon"])) == [True, False, True]
    assert "shifted" in cells["reason"][1]
    assert set(cells["reason"][[0, 2]]) == {""}
