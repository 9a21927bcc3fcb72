"""What an oracle shows of weights, to whom, and at what price."""

import numpy as np
import pytest

from dpbench.attacks import Access, AccessError, NotApplicable, Oracle
from dpbench.testing import plant

QUESTIONS = {
    "weights": lambda oracle: oracle.weights(),
    "initial_weights": lambda oracle: oracle.initial_weights(),
    "logits": lambda oracle: oracle.logits(),
    "features": lambda oracle: oracle.features(of="challenge"),
    "features of public points": lambda oracle: oracle.features(of="reference"),
    "head": lambda oracle: oracle.head(),
    "gradient_norms": lambda oracle: oracle.gradient_norms(of="weights"),
    "gradient_norms of inputs": lambda oracle: oracle.gradient_norms(of="inputs"),
    "slopes": lambda oracle: oracle.slopes(np.zeros((4, 30)), np.ones((4, 30))),
}
every_question = pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
PLANTED = plant(models=4, points=10, effect=1.0, seed=0, n_classes=3)


@every_question
def test_an_answer_costs_one_query_and_is_that_of_the_white_box(ask):
    oracle = PLANTED.view(access=Access.WHITE_BOX, budget=1).target
    assert np.array_equal(ask(oracle), ask(PLANTED.target))
    assert oracle.queries == 1
    with pytest.raises(AccessError, match="query 2 exceeds the budget of 1"):
        ask(oracle)


@every_question
@pytest.mark.parametrize("access", [Access.LABEL, Access.SCORE])
def test_weaker_adversaries_are_refused(ask, access):
    oracle = PLANTED.view(access=access).target
    with pytest.raises(AccessError, match=f"white_box access is needed, {access.name.lower()}"):
        ask(oracle)
    assert oracle.queries == 0


@every_question
def test_where_there_are_no_weights_the_attack_does_not_apply(ask):
    oracle = Oracle(
        access=Access.WHITE_BOX,
        budget=None,
        pool_outputs=PLANTED.target.outputs,
        query=PLANTED.target.query,
    )
    with pytest.raises(NotApplicable, match="no weights"):
        ask(oracle)
    assert oracle.scores().shape == (4, 10, 3)


def test_asking_what_kind_of_network_it_is_costs_nothing():
    oracle = PLANTED.view(access=Access.WHITE_BOX, budget=0).target
    assert oracle.linear
    assert oracle.queries == 0
    with pytest.raises(AccessError, match="white_box access"):
        _ = PLANTED.view(access=Access.SCORE).target.linear


def test_gradients_are_with_respect_to_the_weights_unless_said_otherwise():
    oracle = PLANTED.view(access=Access.WHITE_BOX).target
    assert np.array_equal(oracle.gradient_norms(), oracle.gradient_norms("weights"))
    assert not np.allclose(oracle.gradient_norms(), oracle.gradient_norms("inputs"))


def chosen(models, points, copies):
    inputs = PLANTED.target.inputs[points][:, None].repeat(copies, 1)
    return np.array(models), np.array(points), inputs


def test_pairs_are_asked_about_inputs_of_their_own():
    oracle = PLANTED.view(access=Access.LABEL).target
    models, points, inputs = chosen([0, 3, 3], [7, 2, 7], 2)
    inputs[:, 1] = inputs[::-1, 1]
    found = oracle.predictions_at(models, points, inputs)
    assert found.shape == (3, 2)
    assert np.array_equal(found[:, 0], PLANTED.target.outputs().argmax(-1)[models, points])
    for pair, (model, point) in enumerate(zip(models, points, strict=True)):
        others = PLANTED.target.inputs.copy()
        others[point] = inputs[pair, 1]
        assert found[pair, 1] == PLANTED.target.query(others).argmax(-1)[model, point]


def test_every_pair_has_its_own_budget_beside_the_common_queries():
    oracle = PLANTED.view(access=Access.LABEL, budget=5).target
    oracle.predictions()
    oracle.predictions_at(*chosen([0, 1], [7, 2], 3))
    oracle.predictions_at(*chosen([0], [2], 4))
    assert oracle.queries == 5
    oracle.predictions_at(*chosen([0], [7], 1))
    with pytest.raises(AccessError, match="query 6 exceeds the budget of 5"):
        oracle.predictions_at(*chosen([1, 0], [2, 7], 1))


def test_the_same_pair_twice_in_one_question_is_charged_twice():
    oracle = PLANTED.view(access=Access.LABEL, budget=5).target
    with pytest.raises(AccessError, match="query 6"):
        oracle.predictions_at(*chosen([2, 2], [1, 1], 3))


def test_nobody_asked_costs_nothing():
    oracle = PLANTED.view(access=Access.LABEL, budget=5).target
    nobody = np.zeros(0, np.int64)
    assert oracle.predictions_at(nobody, nobody, np.zeros((0, 3, 16), np.float32)).size == 0
    assert oracle.queries == 0


def test_some_models_answer_only_about_whole_sets():
    oracle = Oracle(
        access=Access.LABEL, budget=None, pool_outputs=PLANTED.target.outputs, query=lambda x: x
    )
    with pytest.raises(NotApplicable, match="own choice"):
        oracle.predictions_at(*chosen([0], [0], 1))


@pytest.mark.parametrize("ask", ["features", "head"])
def test_networks_that_do_not_end_in_an_affine_layer_have_no_features(ask):
    class Headless(type(PLANTED.target)):
        has_head = False

    facts = {name: getattr(PLANTED.target, name) for name in PLANTED.target.__dataclass_fields__}
    oracle = Oracle(
        access=Access.WHITE_BOX,
        budget=None,
        pool_outputs=PLANTED.target.outputs,
        query=PLANTED.target.query,
        white_box=Headless(**facts),
    )
    with pytest.raises(NotApplicable, match="affine layer"):
        getattr(oracle, ask)()
