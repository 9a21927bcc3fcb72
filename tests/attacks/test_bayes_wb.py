"""Bayes white-box: proxies, displacement, slices, and the model in which it is optimal."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from scipy.stats import spearmanr
from slow_shadows import for_each, out_mean
from views import random_outputs, view_of

from bench.bayes_wb import MODELS, table
from dpbench.attacks import Access, BayesWb, NotApplicable, Oracle
from dpbench.attacks.toolbox import displacement
from dpbench.attacks.toolbox.displacement import Displacement, evidence_of, learn_on_layer
from dpbench.attacks.toolbox.proxy_tops import PENALTIES, fit_softmax, proxy_tops
from dpbench.testing import auc, check_attack, plant

FORMS = [
    BayesWb(),
    BayesWb(gauge="none"),
    BayesWb(proxy="shadows"),
    BayesWb(layers="input"),
    BayesWb(layers="all"),
    BayesWb(form="learned"),
    BayesWb(form="learned", layers="all"),
    BayesWb(form="learned", layers="input"),
    BayesWb(form="learned", layers="input", influence="path"),
]


@pytest.mark.parametrize("attack", FORMS, ids=lambda attack: attack.label())
def test_contract(attack):
    check_attack(attack)


class Shown:
    """A white box of given features and heads."""

    has_head, linear = True, False

    def __init__(self, features, head, public):
        self._features, self._head = {"challenge": features, "reference": public}, head

    def features(self, of):
        return self._features[of]

    def head(self):
        return self._head

    def logits(self):
        return (
            self._features["challenge"] @ self._head[..., :-1].swapaxes(1, 2)
            + (self._head[:, None, :, -1])
        )


def shown_view(seed=0, models=6, points=30, width=5, classes=3, public=40):
    """Returns random heads on random features, as a view and as arrays."""
    rng = np.random.default_rng(seed)
    outputs, labels, members = random_outputs(seed, models, points, classes)
    features = rng.standard_normal((models, points, width)).astype(np.float32)
    head = rng.standard_normal((models, classes, width + 1)).astype(np.float32)
    others = rng.standard_normal((models, public, width)).astype(np.float32)
    white_box = Shown(features, head, others)

    def view(attack):
        oracle = Oracle(
            access=Access.WHITE_BOX,
            budget=attack.budget,
            pool_outputs=lambda: outputs,
            query=lambda inputs: outputs,
            white_box=white_box,
        )
        public_labels = np.random.default_rng(1).integers(classes, size=public)
        shown = view_of(outputs, labels, members, reference_labels=public_labels)
        return dataclasses.replace(shown, target=oracle, shadows=oracle)

    return view, white_box, labels, members


@pytest.mark.parametrize("gauge", ["mean", "none"])
def test_the_linear_score_is_the_difference_of_two_logits(gauge):
    attack = BayesWb(gauge=gauge)
    view, box, labels, members = shown_view()
    asked = view(attack)
    tops = proxy_tops(box.features("reference"), asked.reference_labels, n_classes=3).weights

    def score(t, i):
        given = np.append(box.features("challenge")[t, i], 1.0)
        own, proxy = box.head()[t] @ given, tops[t] @ given
        if gauge == "mean":
            own, proxy = own - own.mean(), proxy - proxy.mean()
        return own[labels[i]] - proxy[labels[i]]

    np.testing.assert_allclose(attack.score(asked), for_each(members, score), atol=1e-5)


def test_the_input_slice_is_what_its_local_linear_attack_comes_to():
    # w = chi - chi' and b = (g - chi x) - (g' - chi' x) at x itself: the gradients cancel.
    rng = np.random.default_rng(0)
    models, points, width, hidden = 5, 20, 4, 6
    inner, outer = (
        rng.standard_normal((models, hidden, width)),
        rng.standard_normal((models, hidden)),
    )
    inputs, members = rng.standard_normal((points, width)), rng.random((models, points)) < 0.5

    def value(m, x):
        return outer[m] @ np.maximum(inner[m] @ x, 0)

    def influence(m, x):
        return (outer[m] * (inner[m] @ x > 0)) @ inner[m]

    def local(t, i):
        others = [s for s in range(models) if s != t and not members[s, i]] or [None]
        x, total = inputs[i], 0.0
        for sign, names in ((1, [t]), (-1, others)):
            for m in names:
                chi = influence(m, x)
                total += sign * (chi @ x + (value(m, x) - chi @ x)) / len(names)
        return total

    members[:, (~members).sum(0) < 3] = False  # everybody has shadows without the point
    values = np.array([[value(m, x) for x in inputs] for m in range(models)])
    logits = np.stack([values, np.zeros_like(values)], 2)

    class Box:
        linear = False
        has_head = False

        def logits(self):
            return logits

    oracle = Oracle(
        access=Access.WHITE_BOX,
        budget=1,
        pool_outputs=lambda: logits,
        query=lambda x: logits,
        white_box=Box(),
    )
    labels = np.zeros(points, np.int64)
    view = view_of(logits, labels, members)
    view = dataclasses.replace(view, target=oracle, shadows=oracle)
    found = BayesWb(layers="input", gauge="none").score(view)
    np.testing.assert_allclose(found, for_each(members, local), atol=1e-10)


@pytest.mark.parametrize("influence", ["point", "path"])
def test_a_map_that_is_still_subtraction_gives_the_values_and_a_learned_one_does_not(
    influence, monkeypatch
):
    planted = plant(models=8, points=30, effect=2.0, seed=3)
    attack = BayesWb(form="learned", layers="input", influence=influence)

    def scores(chosen):
        return chosen.score(planted.view(access=Access.WHITE_BOX, budget=chosen.budget))

    subtracted, learned = scores(BayesWb(layers="input")), scores(attack)
    monkeypatch.setattr(displacement, "_STEPS", 0)
    np.testing.assert_allclose(scores(attack), subtracted, atol=1e-9)
    # More than a change of scale: another order.
    assert spearmanr(learned.ravel(), subtracted.ravel()).statistic < 0.999


@pytest.mark.parametrize("proxy", ["shadows", "reference"])
def test_the_input_slice_is_the_true_logit_less_that_of_shadows_without_the_point(proxy):
    planted = plant(models=7, points=25, effect=1.0, seed=2)
    attack = BayesWb(layers="input", proxy=proxy)
    logits = planted.target.logits()
    values = (logits - logits.mean(2, keepdims=True))[:, np.arange(25), planted.target.labels]
    members = planted.members

    def score(t, i):
        return values[t, i] - out_mean(values, members, t, i)

    found = attack.score(planted.view(access=Access.WHITE_BOX, budget=1))
    np.testing.assert_allclose(found, for_each(members, score), atol=1e-9)


@pytest.mark.parametrize("penalty", [PENALTIES[2], PENALTIES[4]])
def test_a_top_is_the_minimum_of_the_penalised_loss(penalty):
    rng = np.random.default_rng(3)
    features = (2 * rng.standard_normal((50, 4)) + [1, 0, -2, 0]).astype(np.float32)
    inputs = np.column_stack([features, np.ones(50)])
    labels = rng.integers(3, size=50)
    scale = penalty * np.square(inputs[:, :-1]).mean()

    def loss(flat):
        weights = flat.reshape(3, 5)
        log_p = log_softmax(inputs @ weights.T, axis=1)[np.arange(50), labels]
        return -log_p.mean() + scale / 2 * np.square(weights[:, :-1]).sum()

    best = minimize(loss, np.zeros(15), tol=1e-12).x.reshape(3, 5)
    found = fit_softmax(features, labels, np.array([penalty, 1.0]), n_classes=3)[0]
    # A constant in all biases changes nothing.
    np.testing.assert_allclose(found - found.mean(0), best - best.mean(0), atol=2e-3)


def test_the_penalty_follows_the_noise_and_shared_features_share_a_top():
    rng = np.random.default_rng(4)
    points = rng.standard_normal((200, 30)).astype(np.float32)
    shared = np.broadcast_to(points, (3, 200, 30))
    clear = proxy_tops(shared, (points[:, 0] > 0).astype(int), n_classes=2)
    noise = proxy_tops(shared, rng.integers(2, size=200), n_classes=2)
    assert clear.penalty < noise.penalty
    assert clear.weights.shape == (3, 2, 31)
    assert np.array_equal(clear.weights[0], clear.weights[2])


def test_a_displacement_starts_as_subtraction_and_has_the_gradient_of_its_sum():
    rng = np.random.default_rng(5)
    weights, proxies, error = rng.standard_normal((3, 4, 5))
    start = Displacement.subtraction(0.7, rng)
    np.testing.assert_allclose(start(weights, proxies), weights - proxies, atol=1e-12)
    moved = start.parameters + 0.3 * rng.standard_normal(start.parameters.shape)
    here = dataclasses.replace(start, parameters=moved)
    given = here.given(weights, proxies)
    found = here.gradient(given, here.forward(given)[1], error)
    for place in range(len(moved)):
        step = 1e-6 * (np.arange(len(moved)) == place)
        ahead, behind = (
            (error * dataclasses.replace(here, parameters=moved + s)(weights, proxies)).sum()
            for s in (step, -step)
        )
        assert found[place] == pytest.approx((ahead - behind) / 2e-6, rel=1e-4, abs=1e-6)


def test_learning_ignores_a_proxy_that_is_noise():
    rng = np.random.default_rng(6)
    models, points, width = 12, 400, 8
    features = rng.standard_normal((models, points, width))
    weights = rng.standard_normal((models, 2, width + 1))
    labels = rng.integers(2, size=points)
    truth = evidence_of(features, weights, labels)
    bits = rng.random(truth.shape) < expit(truth)
    proxies = 3 * rng.standard_normal(weights.shape)
    learned = learn_on_layer(features, weights, proxies, labels, bits, rng=rng)
    subtracted = auc(evidence_of(features, weights - proxies, labels), bits)
    found = auc(evidence_of(features, learned(weights, proxies), labels), bits)
    assert found > subtracted + 0.1
    assert learned.parameters[0] > learned.parameters[1] > -1


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "naive Bayes",
            {"gap": 0.502, "malt": 0.573, "loss - proxy loss": 0.630, "bayes_wb": 0.682},
        ),
        ("softmax, decay 1e-3", {"malt": 0.641, "loss - proxy loss": 0.632, "bayes_wb": 0.617}),
        ("softmax, decay 1e-1", {"malt": 0.594, "loss - proxy loss": 0.646, "bayes_wb": 0.647}),
    ],
)
def test_the_simulated_table(name, expected):
    found = table(MODELS[name], 10)
    for attack, accuracy in expected.items():
        assert found[attack][0] == pytest.approx(accuracy, abs=0.02)
    if name == "naive Bayes":
        order = ["bayes_wb", "loss - proxy loss", "malt", "gap"]
        means = [found[attack][0] for attack in order]
        assert means == sorted(means, reverse=True)


def test_two_slices_say_more_than_one():
    planted = plant(models=20, points=150, effect=2.0, seed=7, spread=2.0, public=40)

    def found(attack):
        view = planted.view(access=Access.WHITE_BOX)
        return auc(attack.score(view), planted.members)

    # One threshold for all points is weak where points differ: the shadows' slice is not.
    last, both = found(BayesWb()), found(BayesWb(layers="all"))
    assert both > last + 0.05
    assert both > found(BayesWb(layers="input")) - 0.01


def test_a_displacement_needs_the_weights_of_both():
    view = plant(models=4, points=10, effect=1.0, seed=0).view(access=Access.WHITE_BOX)
    with pytest.raises(NotApplicable, match="displacement"):
        BayesWb(form="learned", proxy="shadows").score(view)
    with pytest.raises(NotApplicable, match="gauge"):
        BayesWb(form="learned", layers="input", gauge="none").score(view)


def test_means_of_tops_on_different_networks_mean_nothing():
    attack = BayesWb(proxy="shadows")
    with pytest.raises(NotApplicable, match="no meaningful mean"):
        attack.score(shown_view()[0](attack))


@pytest.mark.parametrize("public", [0, 1])
def test_a_proxy_needs_public_points(public):
    planted = plant(models=4, points=10, effect=1.0, seed=0, public=public)
    with pytest.raises(NotApplicable, match="public points"):
        BayesWb().score(planted.view(access=Access.WHITE_BOX))


def test_only_the_public_proxy_of_the_last_layer_needs_no_shadows():
    assert [attack.label() for attack in FORMS if not attack.needs_shadows] == [
        "bayes_wb",
        "bayes_wb(gauge=none)",
    ]
