"""Canaries: what each kind is, and that everything else is left alone."""

import numpy as np
import pytest
from given_data import images, population_of, table
from scipy.special import softmax

from dpbench.data import Canaries, RawData, membership
from dpbench.data.canaries import COLUMN_NOISE, PIXEL_NOISE
from dpbench.errors import UserError

KINDS = ["mislabelled", "duplicate", "blank", "out_of_distribution", "gradient"]
SETS = {
    "images": images(n=400, side=4, n_classes=5),
    "mixed": table(n=400, numbers=3, bits=5, n_classes=5),
    "numbers": table(n=400, numbers=6, bits=0, n_classes=5),
    "bits": table(n=400, numbers=0, bits=30, n_classes=5),
}


def number_of(kind, name="images"):
    """Canaries to ask for: gradient canaries need a continuous feature each."""
    return min(30, {"images": 16, "mixed": 3, "numbers": 6}[name]) if kind == "gradient" else 30


def planted(raw, kind, count=30, **spec):
    spec = {"pool": 100, "reference": 100, **spec}
    clean = population_of(raw, **spec)
    return clean, population_of(raw, canaries={"kind": kind, "count": count}, **spec)


@pytest.mark.parametrize(
    ("kind", "name"),
    [(kind, name) for kind in KINDS for name in SETS if (kind, name) != ("gradient", "bits")],
)
def test_only_the_canaries_change_and_only_they_are_challenged(kind, name):
    count = number_of(kind, name)
    clean, canary = planted(SETS[name], kind, count)
    assert canary.challenge.sum() == count
    assert canary.expected_members == 100 - count / 2
    others = ~canary.challenge
    assert np.array_equal(canary.pool_x[others], clean.pool_x[others])
    assert np.array_equal(canary.pool_y[others], clean.pool_y[others])
    for field in ("test_x", "reference_x", "low", "high", "unit", "binary"):
        assert np.array_equal(getattr(canary, field), getattr(clean, field))
    assert len(np.unique(canary.pool_x.reshape(100, -1), axis=0)) == 100
    assert canary.pool_x.dtype == np.float32
    assert canary.pool_y.dtype == np.int64
    assert set(np.unique(canary.pool_x[:, canary.binary])) <= {0.0, 1.0}
    assert 0 <= canary.pool_y.min() <= canary.pool_y.max() < 5


@pytest.mark.parametrize("kind", KINDS)
def test_positions_depend_on_the_seed_and_on_nothing_else(kind):
    positions = [
        population_of(
            SETS["images"], pool=100, seed=s, canaries={"kind": kind, "count": number_of(kind)}
        )
        for s in (0, 0, 1)
    ]
    first, again, other = (population.challenge for population in positions)
    assert positions[0].digest == positions[1].digest
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_mislabelled_is_wrong_and_uniform_over_the_others():
    raw = images(n=3000, n_classes=4, n_test=10)
    clean, canary = planted(raw, "mislabelled", count=1200, pool=1200)
    assert np.array_equal(canary.pool_x, clean.pool_x)
    shift = (canary.pool_y - clean.pool_y) % 4
    counts = np.bincount(shift, minlength=4)
    assert counts[0] == 0
    # Binomial(1200, 1/3) has standard deviation 16.3.
    assert np.abs(counts[1:] - 400).max() < 80


@pytest.mark.parametrize("name", SETS)
def test_duplicate_lies_next_to_its_own_fixed_member_under_another_label(name):
    _, canary = planted(SETS[name], "duplicate")
    flat = canary.pool_x.reshape(100, -1).astype(float)
    fixed = np.flatnonzero(~canary.challenge)
    originals = []
    for index in np.flatnonzero(canary.challenge):
        gap = np.abs(flat[fixed] - flat[index])
        nearest = fixed[gap.sum(axis=1).argmin()]
        originals.append(nearest)
        assert canary.pool_y[index] != canary.pool_y[nearest]
        gap = np.abs(flat[nearest] - flat[index]).reshape(canary.shape)
        if name == "bits":
            assert gap.sum() == 1
        else:
            noise = PIXEL_NOISE if canary.is_image else COLUMN_NOISE
            assert 0 < gap.max() < 6 * noise * canary.unit.max()
            assert not gap[canary.binary].any()
    assert len(set(originals)) == 30
    if canary.is_image:
        assert np.all((canary.pool_x >= canary.low) & (canary.pool_x <= canary.high))


def test_duplicate_leaves_constant_columns_alone():
    raw = table(n=200, numbers=2, bits=0)
    raw = raw._replace(train_x=raw.train_x * [1, 0] + [0, 3])
    _, canary = planted(raw, "duplicate", count=20, pool=50, reference=50)
    assert not canary.pool_x[:, 1].any()


@pytest.mark.parametrize("name", SETS)
def test_blank_is_raw_zero_but_for_one_bright_feature_of_its_own(name):
    raw = SETS[name]
    count = min(30, int(np.prod(raw.binary.shape)))
    _, canary = planted(raw, "blank", count=count)
    if raw.is_image:
        zero = canary.low
    elif name == "bits":
        zero = np.zeros(30)
    else:
        # Raw zero lies where the line through (raw, standardised) of any row puts it.
        zero = _standardised_zero(raw, canary)
    blanks = canary.pool_x[canary.challenge]
    bright = ~np.isclose(blanks, zero, atol=1e-4)
    per_canary = bright.reshape(count, -1).sum(axis=1)
    assert set(per_canary) <= {1, 2}
    assert np.all(blanks[bright] == np.broadcast_to(canary.high, blanks.shape)[bright])
    assert len(np.unique(bright.reshape(count, -1), axis=0)) == count


def _standardised_zero(raw, population):
    from dpbench.data.scaling import Scaling
    from dpbench.data.splitting import split

    part = split(np.arange(400), np.arange(0), pool=100, test=None, reference=100, seed=0)
    return Scaling.fit(raw.train_x[part.reference], binary=raw.binary, is_image=False).zero


def test_more_blanks_than_features_light_two():
    _, canary = planted(SETS["images"], "blank", count=100)
    bright = canary.pool_x > canary.low + canary.unit / 2
    assert sorted(bright.reshape(100, -1).sum(axis=1)) == [1] * 16 + [2] * 84


def test_out_of_distribution_fills_the_ranges_uniformly():
    raw = table(n=2500, numbers=1, bits=1, n_classes=2)
    raw = raw._replace(train_x=np.concatenate([raw.train_x, np.arange(2500)[:, None]], axis=1))
    raw = raw._replace(binary=np.array([False, True, False]))
    _, canary = planted(raw, "out_of_distribution", count=1000, pool=1000)
    noise = canary.pool_x[canary.challenge]
    share = (noise[:, 0] - canary.low[0]) / (canary.high[0] - canary.low[0])
    assert 0 <= share.min() <= share.max() <= 1
    # The mean and variance of U(0, 1), and of a fair bit, within five standard errors.
    assert abs(share.mean() - 1 / 2) < 5 / np.sqrt(12 * 1000)
    assert abs(share.var() - 1 / 12) < 0.015
    assert abs(noise[:, 1].mean() - 1 / 2) < 5 / np.sqrt(4 * 1000)
    assert abs(canary.pool_y.mean() - 1 / 2) < 5 / np.sqrt(4 * 1000)


def correlated(n=600, d=40, n_classes=4, seed=0):
    """Columns that share a few causes, as real ones do: some directions are hardly used."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(n_classes, size=n)
    causes = 3 * rng.standard_normal((n_classes, 8))[labels] + rng.standard_normal((n, 8))
    columns = causes @ rng.standard_normal((8, d)) + 0.1 * rng.standard_normal((n, d))
    return RawData(columns, labels, None, None, n_classes, False, np.zeros(d, dtype=bool))


def split_up(population):
    """Canaries and the other pool examples, float64 rows, with their labels."""
    rows = population.pool_x.reshape(len(population.pool_x), -1).astype(float)
    crafted = population.challenge
    return rows[crafted], population.pool_y[crafted], rows[~crafted], population.pool_y[~crafted]


def softmax_gradients(rows, labels, weights):
    """Gradients `(n, (d + 1) * classes)` of the cross-entropy of softmax regression with a bias."""
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    errors = softmax(rows @ weights, axis=1) - np.eye(weights.shape[1])[labels]
    return (rows[:, :, None] * errors[:, None, :]).reshape(len(rows), -1)


def fitted(rows, labels, n_classes, steps=200):
    weights = np.zeros((rows.shape[1] + 1, n_classes))
    for _ in range(steps):
        gradient = softmax_gradients(rows, labels, weights).mean(axis=0)
        weights -= 0.05 * gradient.reshape(weights.shape)
    return weights


@pytest.mark.parametrize("raw", [correlated(), SETS["images"]], ids=["columns", "images"])
def test_gradient_canaries_are_long_orthogonal_and_where_the_others_are_not(raw):
    _, canary = planted(raw, "gradient", count=12)
    crafted, _, others, _ = split_up(canary)
    longest = np.linalg.norm(others, axis=1).max()
    cosines = crafted @ crafted.T / longest**2
    np.testing.assert_allclose(cosines, np.eye(12), atol=2e-3)
    # No 12 orthogonal directions have less energy.
    energies = np.square(others @ crafted.T).sum(axis=0) / longest**2
    least = np.linalg.eigvalsh(others.T @ others)[:12]
    np.testing.assert_allclose(np.sort(energies), least, rtol=0.02)


def test_gradients_of_gradient_canaries_are_large_and_nearly_orthogonal_to_all_others():
    cosines = {}
    for kind in ("gradient", "mislabelled"):
        _, canary = planted(correlated(), kind, count=12, pool=200)
        crafted, wrong, others, labels = split_up(canary)
        for weights in (np.zeros((41, 4)), fitted(others, labels, 4)):
            own = softmax_gradients(crafted, wrong, weights)
            theirs = softmax_gradients(others, labels, weights)
            # The bias is shared by all: it is what keeps them from being exactly orthogonal.
            cosine = own @ theirs.T
            cosine /= np.linalg.norm(own, axis=1)[:, None] * np.linalg.norm(theirs, axis=1)
            cosines[kind] = max(cosines.get(kind, 0), np.abs(cosine).max())
            if kind == "gradient":
                among = own @ own.T / np.outer(*2 * [np.linalg.norm(own, axis=1)])
                assert np.abs(among - np.eye(12)).max() < 0.05
                norms = np.linalg.norm(theirs, axis=1)
                assert np.linalg.norm(own, axis=1).min() > np.quantile(norms, 0.9)
    assert cosines["gradient"] < 0.1
    assert cosines["mislabelled"] > 0.5


@pytest.mark.parametrize("ridge", [1e-2, 1.0, 1e3])
def test_a_gradient_canary_has_the_label_that_ridge_regression_finds_least_likely(ridge):
    _, canary = planted(correlated(), "gradient", count=12, pool=300)
    crafted, labels, others, theirs = split_up(canary)
    one_hot = np.eye(4)[theirs] - 0.25
    weights = np.linalg.solve(others.T @ others + ridge * np.eye(40), others.T @ one_hot)
    scores = crafted @ weights
    assert np.array_equal(scores.argmin(axis=1), labels)
    # Turned around, no class would be less likely.
    assert (-scores.min(axis=1) >= scores.max(axis=1)).all()
    assert len(set(labels)) > 1


def test_gradient_canaries_leave_bits_at_zero_and_use_a_column_that_never_varies():
    _, canary = planted(SETS["mixed"], "gradient", count=3)
    crafted = canary.pool_x[canary.challenge]
    assert not crafted[:, 3:].any()
    assert (np.linalg.norm(crafted, axis=1) > 1).all()
    raw = SETS["numbers"]
    raw = raw._replace(train_x=raw.train_x * [1, 1, 0, 1, 1, 1])
    _, canary = planted(raw, "gradient", count=1)
    crafted, _, others, _ = split_up(canary)
    length = np.linalg.norm(others, axis=1).max()
    np.testing.assert_allclose(np.abs(crafted[0]), length * np.eye(6)[2], atol=6e-3)


def test_gradient_canaries_need_a_continuous_feature_each():
    with pytest.raises(UserError, match=r"canaries\.kind: gradient canaries need continuous"):
        planted(SETS["bits"], "gradient", count=1)
    with pytest.raises(UserError, match=r"count: 4 gradient canaries.*\n.*1 to 3$"):
        planted(SETS["mixed"], "gradient", count=4)


@pytest.mark.parametrize("kind", KINDS)
def test_canary_bits_are_random_and_all_others_are_members(kind):
    _, canary = planted(SETS["images"], kind, count=16)
    bits = membership(canary, models=375, seed=0)
    assert bits[:, ~canary.challenge].all()
    # 6,000 fair coins: five standard deviations are 194.
    assert abs(bits[:, canary.challenge].sum() - 3000) < 194


@pytest.mark.parametrize(
    ("kind", "count", "room"),
    [
        ("mislabelled", 101, 100),
        ("blank", 150, 100),
        ("duplicate", 51, 50),
        ("gradient", 17, 16),
    ],
)
def test_more_canaries_than_there_is_room_for(kind, count, room):
    with pytest.raises(UserError, match=rf"canaries\.count: {count} {kind}.*\n.*1 to {room}$"):
        planted(SETS["images"], kind, count=count)


def test_canaries_that_cannot_differ_are_refused():
    bits = np.array([[int(b) for b in f"{i:07b}"] for i in range(128)])
    raw = RawData(bits, np.arange(128) % 2, None, None, 2, False, np.ones(7, dtype=bool))
    with pytest.raises(UserError, match="cannot all differ"):
        planted(raw, "out_of_distribution", count=70, pool=80, reference=20, test=20)
    with pytest.raises(UserError, match="cannot all differ"):
        planted(table(n=400, numbers=3, bits=0), "blank", count=8)  # three features, seven patterns


def test_blanks_on_features_that_hold_nothing_but_zero():
    rng = np.random.default_rng(0)
    raw = table(n=100, numbers=1, bits=0)._replace(train_x=-rng.random((100, 1)))
    raw.train_x[::2] = -np.arange(50)[:, None]
    with pytest.raises(UserError, match="cannot all differ"):
        planted(raw, "blank", count=2, pool=20, reference=20)


def test_the_block_is_validated():
    with pytest.raises(UserError, match=r"canaries.*kind.*'twins'"):
        planted(SETS["images"], "twins")
    with pytest.raises(UserError, match=r"canaries.*count"):
        planted(SETS["images"], "blank", count=0)
    parsed = Canaries.parse({"kind": "blank", "count": 3}, where="population.canaries")
    assert parsed == Canaries(kind="blank", count=3)
