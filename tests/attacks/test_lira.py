"""LiRA against a loop with SciPy's normal, on planted signals, and on masked releases."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm
from views import random_outputs, view_of

from dpbench.attacks import Access, AccessError, Lira, NotApplicable, Oracle
from dpbench.component import REGISTRIES
from dpbench.errors import UserError
from dpbench.testing import auc, plant, standard_error

MODES = [(m, v) for m in ("online", "offline") for v in ("per_example", "pooled")]


def slow_phi(outputs, labels):
    phi = np.empty(outputs.shape[:2])
    for m in range(outputs.shape[0]):
        for i, y in enumerate(labels):
            rest = sum(float(p) for k, p in enumerate(outputs[m, i]) if k != y)
            phi[m, i] = np.log(float(outputs[m, i, y]) + 1e-45) - np.log(rest + 1e-45)
    return phi


def pooled(groups):
    groups = [g for g in groups if len(g) >= 2]
    squares = sum(np.var(g, ddof=1) * (len(g) - 1) for g in groups)
    return squares, sum(len(g) - 1 for g in groups)


def slow_target(observed, phi, members, t, mode, variance):
    others = [s for s in range(len(phi)) if s != t]
    points = range(phi.shape[1])
    ins = [[phi[s, i] for s in others if members[s, i]] for i in points]
    outs = [[phi[s, i] for s in others if not members[s, i]] for i in points]
    (in_squares, in_dof), (out_squares, out_dof) = pooled(ins), pooled(outs)
    both = [np.mean(a) - np.mean(b) for a, b in zip(ins, outs, strict=True) if a and b]
    gap = np.mean(both)
    online = mode == "online"
    total = (in_squares + out_squares, in_dof + out_dof) if online else (out_squares, out_dof)
    floor = max(0.01 * np.sqrt(total[0] / total[1]), 1e-6)

    def deviation(group, squares, dof):
        alone = variance == "per_example" and len(group) >= 2
        return max(np.std(group, ddof=1) if alone else np.sqrt(squares / dof), floor)

    scores = []
    for i in points:
        sd_in = deviation(ins[i], in_squares, in_dof)
        sd_out = deviation(outs[i], out_squares, out_dof)
        if online:
            mean_in = np.mean(ins[i]) if ins[i] else np.mean(outs[i]) + gap
            mean_out = np.mean(outs[i]) if outs[i] else np.mean(ins[i]) - gap
            log_in = norm.logpdf(observed[t, i], mean_in, sd_in)
            scores.append(log_in - norm.logpdf(observed[t, i], mean_out, sd_out))
        else:
            overall = np.mean([np.mean(g) for g in outs if g])
            mean_out = np.mean(outs[i]) if outs[i] else overall
            scores.append((observed[t, i] - mean_out) / sd_out)
    return scores


def slow(outputs, shadows, labels, members, mode, variance):
    observed, phi = slow_phi(outputs, labels), slow_phi(shadows, labels)
    rows = [slow_target(observed, phi, members, t, mode, variance) for t in range(len(phi))]
    return np.array(rows)


@pytest.mark.parametrize(("mode", "variance"), MODES)
@pytest.mark.parametrize("models", [5, 8, 16])
@pytest.mark.parametrize("static", [False, True])
def test_scores_are_those_of_a_loop(mode, variance, models, static):
    outputs, labels, members = random_outputs(models, models, 30, 4)
    shadows = random_outputs(77, models, 30, 4)[0] if static else outputs
    attack = Lira(mode=mode, variance=variance)
    found = attack.score(view_of(outputs, labels, members, shadows))
    expected = slow(outputs, shadows, labels, members, mode, variance)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("mode", "variance"), MODES)
def test_float32_releases_are_scored_in_float64(mode, variance):
    planted = plant(models=10, points=20, effect=1.0, seed=1)
    outputs = planted.target.outputs()
    found = Lira(mode=mode, variance=variance).score(planted.view(access=Access.SCORE))
    expected = slow(outputs, outputs, planted.target.labels, planted.members, mode, variance)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("mode", "variance"), MODES)
def test_label_only_releases_follow_the_documented_floor(mode, variance):
    outputs, labels, members = random_outputs(3, 12, 40, 3)
    one_hot = np.eye(3, dtype=np.float32)[outputs.argmax(-1)]
    found = Lira(mode=mode, variance=variance).score(view_of(one_hot, labels, members))
    expected = slow(one_hot, one_hot, labels, members, mode, variance)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-6)


def test_a_point_that_no_model_varies_on_is_no_evidence():
    outputs, labels, members = random_outputs(5, 12, 20, 3)
    outputs[:, 7] = [0.2, 0.5, 0.3]
    scores = Lira(variance="per_example").score(view_of(outputs, labels, members))
    np.testing.assert_allclose(scores[:, 7], 0.0, atol=1e-6)


@pytest.mark.parametrize("effect", [0.5, 1.5, 3.0])
def test_it_approaches_the_optimal_auc_and_does_not_beat_it(effect):
    planted = plant(models=64, points=600, effect=effect, seed=2, spread=2.0)
    noise = standard_error(planted.members)
    for mode in ("online", "offline"):
        scores = Lira(mode=mode).score(planted.view(access=Access.SCORE))
        found = auc(scores, planted.members)
        assert planted.calibrated_auc - 0.015 < found < planted.calibrated_auc + 4 * noise


def test_pooling_beats_per_example_variances_with_few_shadows():
    planted = plant(models=12, points=800, effect=1.5, seed=3)
    found = {
        v: auc(Lira(variance=v).score(planted.view(access=Access.SCORE)), planted.members)
        for v in ("pooled", "per_example")
    }
    assert found["pooled"] > found["per_example"]


@pytest.mark.parametrize(("mode", "variance"), MODES)
@pytest.mark.parametrize("temperature", [0.2, 5.0])
def test_temperature_is_undone_by_adaptive_shadows(mode, variance, temperature):
    planted = plant(models=16, points=100, effect=1.5, seed=6, n_classes=2)
    outputs = planted.target.outputs().astype(float)
    masked = outputs ** (1 / temperature)
    masked /= masked.sum(-1, keepdims=True)
    labels, members = planted.target.labels, planted.members
    attack = Lira(mode=mode, variance=variance)
    plain = attack.score(view_of(outputs, labels, members))
    np.testing.assert_allclose(
        attack.score(view_of(masked, labels, members)), plain, rtol=1e-6, atol=1e-6
    )


def test_a_static_attack_on_masked_models_loses_what_an_adaptive_one_keeps():
    planted = plant(models=24, points=300, effect=2.0, seed=8, n_classes=2, spread=2.0)
    outputs = planted.target.outputs().astype(float)
    masked = outputs**0.1 / (outputs**0.1).sum(-1, keepdims=True)
    labels, members = planted.target.labels, planted.members
    adaptive = auc(Lira().score(view_of(masked, labels, members)), members)
    static = auc(Lira().score(view_of(masked, labels, members, shadows=outputs)), members)
    assert adaptive > static + 0.1


def test_a_shared_oracle_is_asked_once_and_gives_the_same_scores():
    planted = plant(models=8, points=20, effect=1.0, seed=9)
    apart = planted.view(access=Access.SCORE, budget=1)
    shared = replace(apart, target=planted.view(access=Access.SCORE, budget=1).target)
    shared = replace(shared, shadows=shared.target)
    assert np.array_equal(Lira().score(shared), Lira().score(apart))
    assert shared.target.queries == 1


def test_several_queries_add_up_their_evidence():
    planted = plant(models=10, points=15, effect=1.0, seed=10, shape=(1, 6, 6))
    view = planted.view(access=Access.SCORE, budget=2)
    found = Lira(queries=2).score(view)
    mirrored = np.ascontiguousarray(view.inputs[..., ::-1])
    outputs = [planted.target.outputs(), planted.target.query(mirrored)]
    expected = sum(slow(p, p, view.labels, planted.members, "online", "pooled") for p in outputs)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert view.target.queries == view.shadows.queries == 2


def test_what_it_cannot_do_is_refused_with_a_reason():
    planted = plant(models=8, points=10, effect=1.0, seed=11)
    with pytest.raises(NotApplicable, match="images"):
        Lira(queries=2).score(planted.view(access=Access.SCORE))
    for mode in ("online", "offline"):
        with pytest.raises(NotApplicable, match="two shadow models"):
            Lira(mode=mode).score(view_of(*random_outputs(0, 2, 10, 3)))
    with pytest.raises(AccessError, match="score access"):
        Lira().score(planted.view(access=Access.LABEL))


def test_an_oracle_limits_its_queries():
    planted = plant(models=6, points=10, effect=1.0, seed=12, shape=(1, 6, 6))
    with pytest.raises(AccessError, match="budget of 3"):
        Lira(queries=4).score(planted.view(access=Access.SCORE, budget=3))


@pytest.mark.parametrize(
    "fields", [{"mode": "both"}, {"variance": "fixed"}, {"queries": 0}, {"queries": 163}, {"k": 1}]
)
def test_wrong_fields_are_refused(fields):
    with pytest.raises(UserError, match=r"attacks\.lira"):
        REGISTRIES["attack"]["lira"].parse(fields, where="attacks.lira")


def test_oracles_count_and_answer_both_kinds_of_question():
    outputs = random_outputs(0, 3, 4, 5)[0]
    oracle = Oracle(
        access=Access.SCORE, budget=2, pool_outputs=lambda: outputs, query=lambda x: outputs[:, :2]
    )
    assert np.array_equal(oracle.predictions(), outputs.argmax(-1))
    assert oracle.scores(np.zeros((2, 2))).shape == (3, 2, 5)
    with pytest.raises(AccessError, match="query 3 exceeds the budget of 2"):
        oracle.predictions()
