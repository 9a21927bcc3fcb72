import pytest

from dpbench.errors import UserError
from dpbench.study import execution
from dpbench.study.plan import make_plan
from dpbench.study.tables import claim_columns
from tests.tiny import context_of, run_tiny


def plan_of(tmp_path, *defenses, **changes):
    return make_plan(context_of(tmp_path, defenses=list(defenses), **changes))


def kinds(plan) -> dict[str, int]:
    counts: dict[str, int] = {}
    for job in plan.jobs.values():
        counts[job.kind] = counts.get(job.kind, 0) + 1
    return counts


def test_masks_train_nothing(tmp_path):
    masks = ["label_only", {"top_k": {"k": 1}}, {"temperature": {"temperature": 3.0}}, "noise"]
    alone, masked = plan_of(tmp_path, "none"), plan_of(tmp_path, "none", *masks)
    assert kinds(masked)["train"] == kinds(alone)["train"]
    assert {cell.trains for cell in masked.cells} == {alone.cells[0].trains} or all(
        [job.key for job in cell.trains] == [job.key for job in alone.cells[0].trains]
        for cell in masked.cells
    )


def test_a_sweep_of_epochs_is_one_training(tmp_path):
    plan = plan_of(tmp_path, "none", {"early_stopping": {"epochs": [1, 2, 5]}})
    assert len({job.key for cell in plan.cells for job in cell.trains}) == len(plan.cells[0].trains)
    assert len({cell.observe.key for cell in plan.cells}) == 4


def test_a_label_only_attack_is_the_same_work_behind_any_mask_that_keeps_labels(tmp_path):
    plan = plan_of(tmp_path, "none", "label_only", "noise", attacks=["gap", "malt"])
    gaps = {row.scores.key for cell in plan.cells for row in cell.rows[:1]}
    malts = {row.scores.key for cell in plan.cells for row in cell.rows[1:2]}
    assert len(gaps) == 1
    assert len(malts) == 3


def test_no_mask_hides_weights(tmp_path):
    masks = ["label_only", {"temperature": {"temperature": 3.0}}]
    plan = plan_of(tmp_path, "none", *masks, attacks=["gradient_norm", "lira"])
    norms = {row.scores.key for cell in plan.cells for row in cell.rows[:1]}
    assert len(norms) == 1
    lira = {row.scores.key for cell in plan.cells for row in cell.rows[1:2]}
    assert len(lira) == 3


def test_a_masked_cells_best_attack_does_not_hold_the_weights(tmp_path):
    attacks = ["gap", "gradient_norm"]
    open_, masked = plan_of(tmp_path, "none", "label_only", attacks=attacks).cells
    assert compared(open_) == ["gap", "gradient_norm", "ensemble"]
    assert "gradient_norm" not in compared(masked)
    assert {
        "gap",
        "label_lira",
        "noise_robustness",
        "noise_lira",
        "boundary_lira",
        "ensemble",
    } <= set(compared(masked))
    (alone,) = plan_of(tmp_path, "none", attacks=["gradient_norm"]).cells
    assert compared(alone) == ["gradient_norm", "ensemble"]


def compared(cell):
    """Names of what the adaptive `best` row is chosen from."""
    best = next(row for row in cell.rows if row.name == "best")
    return [cell.candidate(best, n).name for n in range(len(best.evaluate.candidates))]


def test_attacks_on_part_of_a_cell_compete_too(tmp_path):
    part = {"boundary_distance": {"models": 2}}
    (cell,) = plan_of(tmp_path, "none", attacks=["gap", part]).cells
    assert compared(cell) == ["gap", "boundary_distance", "ensemble"]


def test_an_auditor_is_not_compared_with_adversaries_who_know_no_member(tmp_path):
    (cell,) = plan_of(tmp_path, "none", attacks=["nasr", "gap"]).cells
    assert compared(cell) == ["gap", "ensemble"]


def test_a_students_recipe_enters_the_key_of_the_attack(tmp_path):
    private = {"dp_sgd": {"epsilon": 2, "batch_size": 32, "epochs": 5, "lr": 1.0}}
    recipes = [{"epochs": 10, "batch_size": 16, "lr": rate} for rate in (0.1, 0.2)]
    cells = [
        plan_of(tmp_path, private, attacks=["gap", "attack_d"], recipe=recipe).cells[0]
        for recipe in recipes
    ]
    one, other = (cell.rows for cell in cells)
    assert one[0].scores.key == other[0].scores.key
    assert one[1].scores.key != other[1].scores.key
    assert len(set(one[1].scores.students) & set(other[1].scores.students)) == 0


def test_keys_do_not_depend_on_the_company_a_cell_keeps(tmp_path):
    small = plan_of(tmp_path, {"l2": {"weight_decay": 0.1}})
    large = plan_of(tmp_path, "none", "label_only", {"l2": {"weight_decay": [0.5, 0.1]}})
    assert small.cells[0].observe.key == large.cells[-1].observe.key


def test_everything_that_matters_enters_the_training_key(tmp_path):
    base = {job.key for job in plan_of(tmp_path, "none").cells[0].trains}
    for changes in (
        {"seed": 1},
        {"recipe": {"epochs": 10, "batch_size": 16, "lr": 0.2}},
        {"recipe": {"epochs": 10, "batch_size": 16, "lr": 0.1, "averaging": 0.1}},
        {"model": {"name": "mlp", "hidden": [17]}},
        {"population": {"dataset": "letter", "pool": 151, "test": 200, "reference": 150}},
    ):
        other = {job.key for job in plan_of(tmp_path, "none", **changes).cells[0].trains}
        assert base.isdisjoint(other), changes


def test_parents_come_before_children(tmp_path):
    plan = plan_of(tmp_path, "none", {"l2": {"weight_decay": 0.1}}, "label_only")
    seen: set[str] = set()
    for job in plan.jobs.values():
        assert seen.issuperset(job.parents)
        seen.add(job.key)


def test_without_an_undefended_cell_there_are_no_static_rows(tmp_path):
    (cell,) = plan_of(tmp_path, {"l2": {"weight_decay": 0.1}}).cells
    assert {row.knowledge for row in cell.rows} == {"adaptive"}


def test_claims_survive_decay_and_masks(tmp_path):
    private = {"dp_sgd": {"epsilon": 4}}
    plain, masked, decayed, clipped = plan_of(
        tmp_path,
        private,
        [private, "label_only"],
        [{"l2": {"weight_decay": 0.01}}, private],
        {"dp_sgd": {"epsilon": float("inf")}},
    ).cells
    for cell in (plain, masked, decayed):
        columns = claim_columns(cell)
        assert 4 * 0.98 <= columns["epsilon"] <= 4
        assert columns["bound_advantage_mechanism"] <= columns["bound_advantage_epsilon"] < 1
    assert decayed.recipe.weight_decay == 0.01
    columns = claim_columns(clipped)
    assert columns["epsilon"] == float("inf")
    assert columns["bound_advantage_mechanism"] == 1


def test_a_members_row_does_not_depend_on_how_many_models_there_are(tmp_path):
    context = context_of(tmp_path)
    game = context.game
    assert (game.members(range(12))[:8] == game.members(range(8))).all()
    assert (game.members((3, 7)) == game.members(range(8))[[3, 7]]).all()


def test_tables_do_not_depend_on_parallelism_or_history(tmp_path):
    first = run_tiny(tmp_path / "a")
    again = run_tiny(tmp_path / "a")
    second = run_tiny(tmp_path / "b", defenses=["none"])
    second = run_tiny(tmp_path / "b")
    for other in (again, second):
        assert first.cells.equals(other.cells)
        assert first.attacks.equals(other.attacks)
    names = ("cells.parquet", "cells.csv", "attacks.parquet", "attacks.csv")
    for name in names:
        assert (tmp_path / "a/out" / name).read_bytes() == (tmp_path / "b/out" / name).read_bytes()


@pytest.mark.parametrize(
    ("defense", "reference", "message"),
    [
        ({"pate": {"epsilon": 4.0}}, 72, "pate.queries: 200 is more than the reference set's 72"),
        ("augmentation", 150, "are not images"),
    ],
)
def test_data_that_a_defense_cannot_take_are_refused_before_anything_runs(
    tmp_path, defense, reference, message
):
    population = {"dataset": "letter", "pool": 150, "test": 200, "reference": reference}
    with pytest.raises(UserError, match=message):
        plan_of(tmp_path, "none", defense, population=population)


NETWORK = '''
from dataclasses import dataclass
from torch import nn
import dpbench
from dpbench.models import Architecture

class Centre(nn.Module):
    def forward(self, inputs):
        return inputs - inputs.mean(0)

@dpbench.register
@dataclass(frozen=True, kw_only=True)
class CentredNet(Architecture):
    """A network that mixes the examples of a batch."""
    reference = "none"
    def build(self, shape, n_classes, generator):
        return nn.Sequential(nn.Linear(shape[0], 8), Centre(), nn.Linear(8, n_classes))
'''


def test_a_network_that_cannot_be_trained_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "nets.py").write_text(NETWORK)
    facts = {"model": {"name": "centred_net"}, "plugins": [str(tmp_path / "nets.py")]}
    context = context_of(tmp_path, **facts)
    with pytest.raises(UserError, match=r"layer '1' \(Centre\) lets the examples"):
        execution.prepare(context, tmp_path / "out")
    assert not (tmp_path / "out").exists()
