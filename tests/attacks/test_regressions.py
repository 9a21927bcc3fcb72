"""Ridge regression, the pinball solver and radial features against their definitions."""

import numpy as np
import pytest
from scipy.optimize import linprog
from views import random_outputs, view_of

from dpbench.attacks.toolbox import pinball
from dpbench.attacks.toolbox.pinball import conditional_quantile, least_pinball_loss
from dpbench.attacks.toolbox.radial import radial_features
from dpbench.attacks.toolbox.ridge import PENALTIES, Ridge


def regression(seed, rows=80, width=6, responses=4, noise=1.0):
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((rows, width)) @ rng.standard_normal((width, width))
    values = features @ rng.standard_normal((width, responses)) + 3
    return features, values + noise * rng.standard_normal(values.shape)


def solve(features, responses, penalty):
    """Returns intercepts and coefficients that minimise squared errors + penalty |w|^2."""
    rows, width = features.shape
    design = np.column_stack([np.ones(rows), features])
    weights = np.diag([0.0] + [penalty] * width)
    solution = np.linalg.solve(design.T @ design + weights, design.T @ responses)
    return solution[0], solution[1:]


@pytest.mark.parametrize("noise", [0.1, 30.0])
def test_a_fit_is_the_penalised_least_squares_solution(noise):
    features, responses = regression(0, noise=noise)
    ridge = Ridge.of(features)
    fit = ridge.fit(responses)
    penalties = ridge.eigenvalues * (1 - fit.shrinkage) / fit.shrinkage
    np.testing.assert_allclose(penalties, penalties[0], rtol=1e-4)
    intercept, coefficients = solve(features, responses, penalties[0])
    np.testing.assert_allclose(fit.coefficients, coefficients, rtol=1e-5, atol=1e-8)
    others = np.random.default_rng(1).standard_normal((7, 6))
    np.testing.assert_allclose(
        ridge.predict(fit, others), others @ coefficients + intercept, rtol=1e-6
    )
    np.testing.assert_allclose(ridge.predict(fit, features), fit.fitted, rtol=1e-9)


def test_held_out_predictions_are_those_of_refitting_without_each_row():
    features, responses = regression(2, rows=40)
    ridge = Ridge.of(features)
    fit = ridge.fit(responses)
    penalty = (ridge.eigenvalues * (1 - fit.shrinkage) / fit.shrinkage)[0]
    for row in range(40):
        kept = np.arange(40) != row
        intercept, coefficients = solve(features[kept], responses[kept], penalty)
        expected = features[row] @ coefficients + intercept
        np.testing.assert_allclose(fit.held_out[row], expected, rtol=1e-5, atol=1e-6)


def test_the_penalty_is_the_one_with_the_least_cross_validated_error():
    features, responses = regression(10, rows=60, width=12, noise=8.0)
    ridge = Ridge.of(features)
    found = ridge.fit(responses)
    centred = features - features.mean(0)
    errors = {}
    for penalty in PENALTIES * ridge.eigenvalues.max():
        intercept, coefficients = solve(features, responses, penalty)
        squares = ((responses - features @ coefficients - intercept) ** 2).sum(0)
        hat = centred @ np.linalg.solve(centred.T @ centred + penalty * np.eye(12), centred.T)
        freedom = 1 + np.trace(hat)
        share = squares / ((responses - responses.mean(0)) ** 2).sum(0)
        errors[penalty] = share.sum() / (1 - freedom / 60) ** 2
    best = min(errors, key=errors.get)
    assert 1e-4 < best / ridge.eigenvalues.max() < 1
    np.testing.assert_allclose(
        found.shrinkage, ridge.eigenvalues / (ridge.eigenvalues + best), rtol=1e-9
    )


def test_noise_is_shrunk_and_signal_is_kept():
    clean = Ridge.of(regression(3, noise=0.01)[0]).fit(regression(3, noise=0.01)[1])
    assert clean.shrinkage.min() > 0.999
    rng = np.random.default_rng(4)
    noise = Ridge.of(rng.standard_normal((80, 30))).fit(rng.standard_normal((80, 4)))
    assert noise.shrinkage.max() < 0.3


def test_more_features_than_rows_do_not_interpolate():
    rng = np.random.default_rng(5)
    features, responses = rng.standard_normal((20, 50)), rng.standard_normal((20, 3))
    fit = Ridge.of(features).fit(responses)
    assert fit.shrinkage.sum() <= 10
    assert np.isfinite(fit.held_out).all()


def test_constant_features_and_constant_responses_leave_the_mean():
    rng = np.random.default_rng(6)
    responses = rng.standard_normal((30, 3))
    fit = Ridge.of(np.ones((30, 4))).fit(responses)
    assert fit.shrinkage.size == 0
    np.testing.assert_allclose(fit.fitted, np.tile(responses.mean(0), (30, 1)))
    features = rng.standard_normal((30, 4))
    constant = Ridge.of(features).fit(np.full((30, 2), 7.5))
    np.testing.assert_allclose(constant.held_out, 7.5)


def pinball_loss(residuals, level):
    return np.maximum(level * residuals, (level - 1) * residuals).mean()


@pytest.mark.parametrize("level", [0.1, 0.5, 0.95])
def test_the_pinball_loss_is_within_two_percent_of_the_linear_program(level):
    rng = np.random.default_rng(7)
    rows, width = 300, 5
    features = rng.standard_normal((rows, width))
    spread = 5 * np.exp(0.5 * features[:, :1])
    responses = features @ rng.standard_normal((width, 2)) + spread * rng.gumbel(size=(rows, 2))
    intercepts, slopes = least_pinball_loss(
        Ridge.of(features), responses, np.ones(width), level=level
    )
    found = (features - features.mean(0)) @ slopes + intercepts
    design = np.column_stack([np.ones(rows), features])
    for column in range(2):
        cost = np.concatenate([np.zeros(width + 1), np.full(rows, level), np.full(rows, 1 - level)])
        constraints = np.column_stack([design, np.eye(rows), -np.eye(rows)])
        bounds = [(None, None)] * (width + 1) + [(0, None)] * (2 * rows)
        best = linprog(cost, A_eq=constraints, b_eq=responses[:, column], bounds=bounds)
        loss = pinball_loss(responses[:, column] - found[:, column], level)
        assert best.fun / rows <= loss * (1 + 1e-6)
        assert loss < 1.02 * best.fun / rows


@pytest.mark.parametrize(("level", "open_loss"), [(0.5, 0.002), (0.05, 0.005), (0.99, 0.04)])
def test_more_steps_gain_little(level, open_loss, monkeypatch):
    rng = np.random.default_rng(11)
    features = rng.standard_normal((1000, 8))
    responses = np.exp(0.3 * features[:, :1]) * rng.standard_normal((1000, 3))

    def loss():
        ridge = Ridge.of(features)
        shift, slopes = least_pinball_loss(ridge, responses, np.ones(8), level=level)
        return pinball_loss(responses - (features - ridge.center) @ slopes - shift, level)

    found = loss()
    monkeypatch.setattr(pinball, "STEPS", 3000)
    assert found < (1 + open_loss) * loss()


@pytest.mark.parametrize("level", [0.2, 0.9])
def test_new_responses_exceed_the_quantile_as_often_as_asked(level):
    rng = np.random.default_rng(12)
    features = rng.uniform(-1, 1, (4000, 5))
    spread = 1 + 0.7 * features[:, :1]
    responses = 2 * features[:, :1] + spread * rng.gumbel(size=(4000, 4))
    train, new = slice(0, 800), slice(800, None)
    ridge = Ridge.of(features[train])
    quantile = conditional_quantile(ridge, responses[train], features[new], level=level)
    below = responses[new] <= quantile
    for here in (features[new, 0] > 0.5, features[new, 0] < -0.5):
        assert below[here].mean() == pytest.approx(level, abs=0.05)


@pytest.mark.parametrize("level", [0.2, 0.9])
def test_many_features_do_not_narrow_the_quantiles(level):
    rng = np.random.default_rng(13)
    features = rng.standard_normal((2000, 60))
    responses = features @ rng.standard_normal((60, 8)) + 0.5 * rng.standard_normal((2000, 8))
    ridge = Ridge.of(features[:200])
    quantile = conditional_quantile(ridge, responses[:200], features[200:], level=level)
    # With 60 coefficients on 200 rows the fitted residuals are far too small.
    assert (responses[200:] <= quantile).mean() == pytest.approx(level, abs=0.04)


def test_a_quantile_without_features_is_the_quantile():
    rng = np.random.default_rng(8)
    responses = rng.gumbel(size=(501, 3)) * [1.0, 10.0, 0.01] + [0.0, 50.0, -3.0]
    ridge = Ridge.of(np.ones((501, 2)))
    found = conditional_quantile(ridge, responses, np.ones((4, 2)), level=0.8)
    np.testing.assert_allclose((responses <= found[0] + 1e-9).mean(0), 0.8, atol=0.01)
    assert (np.ptp(found, axis=0) == 0).all()


def test_constant_responses_are_their_own_quantile():
    features = np.random.default_rng(9).standard_normal((40, 3))
    responses = np.full((40, 2), -4.0)
    found = conditional_quantile(Ridge.of(features), responses, features, level=0.9)
    np.testing.assert_allclose(found, -4.0)


def radial_view(seed, points=7, public=25, shape=(2, 3)):
    rng = np.random.default_rng(seed)
    outputs, labels, members = random_outputs(seed, 3, points, 3)
    return view_of(
        outputs,
        labels,
        members,
        inputs=rng.standard_normal((points, *shape)).astype(np.float32),
        reference_inputs=rng.standard_normal((public, *shape)).astype(np.float32),
        reference_labels=rng.integers(3, size=public),
        rng=np.random.default_rng(seed),
    )


@pytest.mark.parametrize("centers", [6, 100])
def test_radial_features_are_those_of_a_loop(centers):
    view = radial_view(0)
    found_public, found = radial_features(view, centers)
    count = min(centers, 25)
    chosen = np.random.default_rng(0).choice(25, count, replace=False)
    middle, middle_labels = view.reference_inputs[chosen], view.reference_labels[chosen]
    distances = [
        float(((middle[i] - middle[j]) ** 2).sum()) for i in range(count) for j in range(i)
    ]
    width = np.median(distances)
    for inputs, labels, features in (
        (view.inputs, view.labels, found),
        (view.reference_inputs, view.reference_labels, found_public),
    ):
        assert features.shape == (len(inputs), count)
        for i, (x, y) in enumerate(zip(inputs, labels, strict=True)):
            for j in range(count):
                expected = np.exp(-((x - middle[j]) ** 2).sum() / width)
                expected *= 1.0 if y == middle_labels[j] else 0.5
                assert features[i, j] == pytest.approx(expected, rel=1e-4)


def test_one_centre_or_equal_points_are_no_division_by_zero():
    one = radial_view(1, public=1)
    same = view_of(
        *random_outputs(2, 3, 7, 3),
        reference_inputs=np.zeros((9, 2), np.float32),
        reference_labels=np.zeros(9, np.int64),
    )
    for view in (one, same):
        assert all(np.isfinite(features).all() for features in radial_features(view, 5))
