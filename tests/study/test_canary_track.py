import json

import numpy as np
import pytest

from dpbench.errors import UserError
from dpbench.study.plan import make_plan
from dpbench.study.run import load
from tests.tiny import context_of, run_tiny

CANARIES = {"canaries": {"kind": "mislabelled", "count": 40}}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    return run_tiny(folder), load(folder / "out")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tracked")
    return run_tiny(folder, **CANARIES), load(folder / "out")


def test_the_average_track_is_untouched_by_the_canary_track(plain, tracked):
    for name in ("cells", "attacks"):
        one, other = getattr(plain[0], name), getattr(tracked[0], name)
        ours = [column for column in one.columns if not column.startswith("canary_")]
        assert one[ours].equals(other[ours])
    assert plain[0].attacks["canary_advantage"].isna().all()


def test_only_the_canaries_bits_are_random(tracked):
    context = tracked[1].context.on("canary")
    assert context.population.challenge.sum() == 40
    members = context.game.members(range(8))
    assert members[:, ~context.population.challenge].all()
    assert 0.4 < context.challenge_members.mean() < 0.6


def test_the_canary_columns_are_the_numbers_of_the_same_grid_played_on_canaries(tracked, tmp_path):
    population = {"dataset": "letter", "pool": 150, "test": 200, "reference": 150} | CANARIES
    alone = run_tiny(tmp_path, population=population)
    ours, theirs = tracked[0].attacks, alone.attacks
    for name in ("advantage", "advantage_low", "auc", "tpr_at_fpr_0.01", "epsilon_lower"):
        np.testing.assert_array_equal(ours[f"canary_{name}"], theirs[name])
    assert list(tracked[0].cells["canary_test_accuracy"]) == list(alone.cells["test_accuracy"])


def test_mislabelled_canaries_are_exposed_more_than_the_average_example(tmp_path):
    outcome = run_tiny(
        tmp_path,
        population={"dataset": "letter", "pool": 400, "test": 200, "reference": 150},
        model={"name": "mlp", "hidden": [64]},
        recipe={"epochs": 100, "batch_size": 16, "lr": 0.1},
        models=12,
        defenses=["none"],
        attacks=["gap"],
        canaries={"kind": "mislabelled", "count": 100},
    )
    gap = outcome.attacks.iloc[0]
    assert gap["canary_advantage_low"] > 0.5
    assert gap["canary_advantage_low"] > gap["advantage_high"]


def test_a_best_row_names_the_attack_that_is_best_on_canaries(tracked):
    attacks = tracked[0].attacks
    best = attacks[attacks["attack"] == "best"]
    known = {label for label in attacks.loc[attacks["attack"] != "best", "canary_attack"]}
    assert set(best["canary_attack"]) <= known
    assert "best" not in known


def test_scores_of_both_tracks_can_be_read(tracked):
    run = tracked[1]
    assert run.scores("none", "lira")[0].shape == (8, 150)
    scores, members = run.scores("none", "lira", track="canary")
    assert scores.shape == members.shape == (8, 40)
    with pytest.raises(UserError, match="there is no track 'canaries'"):
        run.scores("none", "lira", track="canaries")


def test_precision_is_calibrated_on_the_scores_that_can_be_read(plain):
    run = plain[1]
    found = run.calibrated_precision("none", "lira", precision=0.55)
    scores, members = run.scores("none", "lira")
    named = scores >= np.array(found.thresholds)[np.arange(8) % 2][:, None]
    tpr, fpr = named[members].mean(), named[~members].mean()
    assert found.reachable
    assert found.precision.value == pytest.approx(tpr / (tpr + fpr))
    assert found.recall.value == pytest.approx(tpr)
    assert found == run.calibrated_precision("none", "lira", precision=0.55)
    with pytest.raises(UserError, match="precision"):
        run.calibrated_precision("none", "lira", precision=0.5)
    with pytest.raises(UserError, match="no attack"):
        run.calibrated_precision("none", "mast", precision=0.9)


def test_a_claim_is_made_for_each_track(tmp_path):
    context = context_of(tmp_path, defenses=[{"dp_sgd": {"epsilon": 4}}], **CANARIES)
    (cell,) = make_plan(context).cells
    assert cell.canary is not None
    assert cell.sampling.batch == 75
    assert cell.canary.sampling.batch == 150 - 40 / 2
    assert cell.canary.claims


def test_the_resolved_grid_is_read_back(tracked):
    grid = tracked[1].context.grid
    assert json.loads(json.dumps(grid.document()))["canaries"] == CANARIES["canaries"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"canaries": {"kind": "mislabeled", "count": 3}}, "canaries.kind"),
        ({"canaries": {"kind": "blank"}}, "canaries.count"),
        (
            CANARIES | {"population": {"dataset": "letter", "pool": 150} | CANARIES},
            "already makes the whole grid a canary game",
        ),
    ],
    ids=["unknown kind", "no count", "both"],
)
def test_wrong_canaries_are_explained(tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        context_of(tmp_path, **changes)
