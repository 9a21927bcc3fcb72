import math

import pytest

from dpbench.component import REGISTRIES
from dpbench.errors import UserError
from dpbench.study.document import write_document
from dpbench.study.spec import read_grid, read_grids
from tests.tiny import write_grid


def cells(tmp_path, *defenses) -> list[str]:
    return [cell.label for cell in read_grid(write_grid(tmp_path, defenses=list(defenses))).cells]


def test_lists_are_sweeps_in_their_own_order(tmp_path):
    found = cells(tmp_path, "none", {"dp_sgd": {"epsilon": [8, 0.5, math.inf], "delta": 1e-5}})
    assert found == ["none", "dp_sgd(epsilon=8)", "dp_sgd(epsilon=0.5)", "dp_sgd(epsilon=inf)"]


def test_two_lists_are_a_product_and_compositions_multiply(tmp_path):
    found = cells(tmp_path, [{"l2": {"weight_decay": [0.1, 0.01]}}, {"top_k": {"k": [1, 2]}}])
    assert found == [
        "l2(weight_decay=0.1)+top_k(k=1)",
        "l2(weight_decay=0.1)+top_k(k=2)",
        "l2(weight_decay=0.01)+top_k(k=1)",
        "l2(weight_decay=0.01)+top_k(k=2)",
    ]


def test_only_fields_that_differ_from_their_defaults_are_shown(tmp_path):
    found = cells(tmp_path, {"dp_sgd": {"epsilon": 2, "max_grad_norm": 1.0}}, {"top_k": {"k": 3}})
    assert found == ["dp_sgd(epsilon=2)", "top_k"]


def test_a_list_for_a_list_field_is_a_value(tmp_path):
    grid = read_grid(write_grid(tmp_path, model={"name": "mlp", "hidden": [8, 4]}))
    assert grid.model.to_json()["hidden"] == [8, 4]


def test_all_attacks(tmp_path):
    names = {attack.name for attack in read_grid(write_grid(tmp_path, attacks="all")).attacks}
    assert names >= {"gap", "malt", "mast", "lira", "noise_robustness"}


def test_the_resolved_document_reads_back_as_the_same_grid(tmp_path):
    defenses = [
        "none",
        {"dp_sgd": {"epsilon": [1, math.inf]}},
        [{"l2": {"weight_decay": 0.1}}, "label_only"],
    ]
    grid = read_grid(write_grid(tmp_path, defenses=defenses))
    write_document(grid.document(), tmp_path / "resolved.yaml")
    assert read_grid(tmp_path / "resolved.yaml") == grid


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"modles": 64}, "unknown key 'modles'.*did you mean 'models'"),
        ({"defenses": None}, "missing key 'defenses'"),
        ({"defenses": []}, "the list is empty"),
        ({"defenses": ["nome"]}, r"defenses\[0\]: unknown defense 'nome'.*did you mean 'none'"),
        ({"defenses": ["none", "none"]}, "the cell none appears twice"),
        ({"defenses": [{"l2": {"weight_dacay": 1.0}}]}, "unknown key 'weight_dacay'.*weight_decay"),
        ({"defenses": [{"l2": {"weight_decay": "big"}}]}, "l2.weight_decay: 'big' is not valid"),
        ({"defenses": [{"l2": {"weight_decay": -1}}]}, "greater than or equal to 0"),
        ({"defenses": [{"l2": {}}]}, "l2: missing|l2.weight_decay: missing"),
        ({"defenses": [{"l2": {"weight_decay": []}}]}, "an empty list"),
        ({"defenses": [{"dp_sgd": {"epsilon": -1}}]}, "dp_sgd.epsilon: -1 is not valid.*greater"),
        ({"defenses": [{"dp_sgd": {"epsilon": 0}}]}, "dp_sgd.epsilon: 0 is not valid.*greater"),
        ({"defenses": [[]]}, "an empty composition"),
        ({"defenses": [{"l2": 3}]}, "l2: 3 is not valid"),
        ({"defenses": [3]}, "3 is not a defense"),
        (
            {"defenses": [[{"dp_sgd": {"epsilon": 1}}, {"dp_sgd": {"epsilon": 2}}]]},
            "both replace the mechanism",
        ),
        ({"attacks": ["liar"]}, "unknown attack 'liar'.*did you mean 'lira'"),
        ({"attacks": ["gap", "gap"]}, "gap appears twice"),
        ({"attacks": {"all_but": ["liar"]}}, r"all_but\[0\]: unknown attack 'liar'.*'lira'"),
        (
            {"attacks": {"all_but": [["gap"]]}},
            r"all_but\[0\]: \['gap'\] is not a name",
        ),
        ({"attacks": {"but": []}}, r"all, or \{all_but"),
        ({"attacks": {"all_but": "gap"}}, "attacks.all_but: 'gap' is not valid.*a list"),
        ({"models": 0}, "models: 0 is not valid.*at least 2"),
        ({"models": 10**9}, "models: 1000000000 is not valid.*at most 100,000"),
        (
            {"defenses": [{"dp_sgd": {"epsilon": [1.0] * 1000, "delta": [0.1] * 1000}}]},
            r"defenses\[0\].dp_sgd: 1,000,000 combinations.*at most 100,000",
        ),
        (
            {"defenses": [[{"top_k": {"k": [1] * 400}}, {"l2": {"weight_decay": [1] * 400}}]]},
            "160,",
        ),
        ({"plugins": ["x" * 5000]}, "no such file"),
        ({"models": "64"}, "models: '64' is not valid"),
        ({"models": True}, "models: True is not valid"),
        ({"seed": -1}, "seed: -1 is not valid"),
        ({"name": "../../etc"}, "name: .* is not valid"),
        ({"model": {"name": "mlpp"}}, "unknown model 'mlpp'.*did you mean 'mlp'"),
        ({"model": {"name": "mlp", "hidden": [0]}}, "hidden"),
        ({"recipe": {"lr": 0}}, "recipe.lr: 0 is not valid"),
        ({"recipe": {"batchsize": 3}}, "did you mean 'batch_size'"),
        ({"population": {"dataset": "letter", "pool": "many"}}, "population.pool"),
        ({"population": "letter"}, "population: 'letter' is not valid"),
        ({"plugins": ["nowhere.py"]}, "no such file"),
    ],
)
def test_mistakes_are_named(tmp_path, changes, complaint):
    with pytest.raises(UserError) as caught:
        read_grid(write_grid(tmp_path, **changes))
    import re

    assert re.search(complaint, str(caught.value), re.DOTALL), str(caught.value)


def test_all_attacks_and_all_but_some(tmp_path):
    every = read_grid(write_grid(tmp_path, attacks="all")).attacks
    assert [attack.name for attack in every] == sorted(REGISTRIES["attack"])
    some = read_grid(write_grid(tmp_path, attacks={"all_but": ["attack_d", "gap"]})).attacks
    assert {attack.name for attack in every} - {attack.name for attack in some} == {
        "attack_d",
        "gap",
    }
    asked = [{"all_but": ["attack_d", "gap", "merlin"]}, {"merlin": {"copies": 8}}]
    mixed = read_grid(write_grid(tmp_path, attacks=asked)).attacks
    assert {attack.name for attack in mixed} == {attack.name for attack in some}
    assert [attack.copies for attack in mixed if attack.name == "merlin"] == [8]
    with pytest.raises(UserError, match="merlin appears twice"):
        read_grid(write_grid(tmp_path, attacks=[{"all_but": []}, "merlin"]))


def test_a_list_of_populations_is_a_grid_for_each(tmp_path):
    letter, adult = {"dataset": "letter", "pool": 100}, {"dataset": "adult", "pool": 200}
    path = write_grid(tmp_path, population=[letter, adult])
    grids = read_grids(path)
    assert [grid.name for grid in grids] == ["tiny-letter", "tiny-adult"]
    assert [grid.population.pool for grid in grids] == [100, 200]
    assert grids[0].cells == grids[1].cells
    with pytest.raises(UserError, match="list of 2"):
        read_grid(path)


@pytest.mark.parametrize("population", [[], [{"dataset": "letter", "pool": 100}] * 2])
def test_populations_of_a_list_have_names_of_their_own(tmp_path, population):
    with pytest.raises(UserError, match="population lists"):
        read_grids(write_grid(tmp_path, population=population))
