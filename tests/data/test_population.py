"""The population as a whole: spec, bits, digests, and what the user is told."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
from given_data import images, population_of, table
from hypothesis import given
from hypothesis import strategies as st

from dpbench.data import Canaries, Population, PopulationSpec, load_population, membership
from dpbench.errors import UserError

RAW = images(n=400, side=4, n_classes=5)


def load(**spec):
    return load_population(PopulationSpec.parse(spec, where="population"), seed=0, data_dir=None)


def test_types_and_shapes():
    population = population_of(RAW, pool=50, reference=40, test=20, average_pool=2)
    assert population.shape == (1, 2, 2)
    assert population.is_image
    sizes = {"pool": 50, "test": 20, "reference": 40}
    for part, size in sizes.items():
        x, y = getattr(population, f"{part}_x"), getattr(population, f"{part}_y")
        assert (x.shape, x.dtype) == ((size, 1, 2, 2), np.float32)
        assert (y.shape, y.dtype) == ((size,), np.int64)
    for field in ("low", "high", "unit", "binary"):
        assert getattr(population, field).shape == (1, 2, 2)
    assert population.challenge.all()
    assert population.expected_members == 25


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others():
    first, again, other = (population_of(RAW, pool=50, seed=seed) for seed in (3, 3, 4))
    assert first.digest == again.digest != other.digest
    assert first.pool_x.tobytes() == again.pool_x.tobytes()


ARRAYS = [f.name for f in dataclasses.fields(Population) if f.init and f.name != "understood"]


@pytest.mark.parametrize("field", ARRAYS)
def test_the_digest_covers_every_field_but_the_description(field):
    population = population_of(RAW, pool=50)
    value = getattr(population, field)
    changes = {
        "n_classes": 6,
        "shape": (4, 4),
        "is_image": False,
    }
    changed = changes.get(field)
    if changed is None:
        changed = value.copy()
        changed.ravel()[-1] = 0 if changed.ravel()[-1] else 1
    assert dataclasses.replace(population, **{field: changed}).digest != population.digest


def test_classes_are_kept_and_relabelled_in_the_order_given():
    raw = table(n=300, numbers=1, bits=0, n_classes=4, n_test=90)
    raw = raw._replace(train_x=raw.train_x + 1000 * raw.train_y[:, None])
    raw = raw._replace(test_x=raw.test_x + 1000 * raw.test_y[:, None])
    population = population_of(raw, pool=60, classes=[3, 1])
    assert population.n_classes == 2
    for x, y in (
        (population.pool_x, population.pool_y),
        (population.test_x, population.test_y),
        (population.reference_x, population.reference_y),
    ):
        assert set(y) == {0, 1}
        assert x[y == 0].min() > x[y == 1].max()  # raw label 3 lies above raw label 1
    kept = np.isin(raw.test_y, [1, 3]).sum()
    assert len(population.test_y) == kept


@pytest.mark.parametrize("classes", [[1], [2, 2], [0, 5], []])
def test_classes_that_are_not_there_are_refused(classes):
    with pytest.raises(UserError, match=r"population\.classes: .*\n.*0 to 4"):
        population_of(RAW, pool=50, classes=classes)


def test_averaging_a_table_is_refused():
    with pytest.raises(UserError, match=r"population\.average_pool: 'given' holds no images"):
        population_of(table(), pool=20, average_pool=2)


def test_an_unknown_data_set_gets_a_suggestion_and_the_list():
    with pytest.raises(
        UserError, match=r"(?s)'fashion_minst'.*adult.*did you mean 'fashion_mnist'"
    ):
        load(dataset="fashion_minst", pool=50)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"dataset": "letter"}, r"population.*missing"),
        ({"dataset": "letter", "pool": 10}, r"population\.pool: 10 .*\n.*20"),
        ({"dataset": "letter", "pool": 50, "test": 0}, r"population\.test"),
        ({"dataset": "letter", "pool": 50, "reference": 3}, r"population\.reference"),
        ({"dataset": "letter", "pool": 50, "average_pool": 0}, r"population\.average_pool"),
        ({"dataset": "letter", "pool": 50, "classes": [-1, 2]}, r"population\.classes"),
        ({"dataset": "letter", "pool": 50, "pol": 1}, r"unknown key 'pol'"),
        ({"dataset": "letter", "pool": 50, "path": "x.npz"}, r"population\.path: .* takes no path"),
        ({"dataset": "file", "pool": 50}, r"population\.path: missing"),
        ({"dataset": "letter", "pool": 18_660}, r"population\.pool: 18,660 .*\n.*at most 18,647$"),
    ],
)
def test_mistakes_are_explained(spec, message):
    with pytest.raises(UserError, match=message):
        load(**spec)


def test_a_spec_built_in_python_is_checked_like_one_from_a_file():
    with pytest.raises(UserError, match=r"population\.pool: 3 "):
        load_population(PopulationSpec(dataset="letter", pool=3), seed=0, data_dir=None)
    spec = PopulationSpec(
        dataset="letter",
        pool=50,
        canaries=Canaries(kind="noise", count=3),  # type: ignore[arg-type]
    )
    with pytest.raises(UserError, match=r"population\.canaries\.kind"):
        load_population(spec, seed=0, data_dir=None)


@given(st.integers(1, 20), st.integers(0, 2**40))
def test_a_row_of_bits_does_not_depend_on_how_many_models_there_are(models, seed):
    population = population_of(RAW, pool=50)
    bits = membership(population, models=models, seed=seed)
    assert bits.shape == (models, 50)
    assert bits.dtype == bool
    assert np.array_equal(membership(population, models=models + 3, seed=seed)[:models], bits)


def test_bits_are_independent_fair_coins_and_not_balanced():
    population = population_of(RAW, pool=300)
    models = 1500
    bits = membership(population, models=models, seed=1)
    # Sizes of models and counts of examples are Binomial: their variances are n/4 and M/4, where a
    # balanced design would have none. A sample variance of k values has relative error sqrt(2/k).
    sizes, counts = bits.sum(axis=1), bits.sum(axis=0)
    assert abs(sizes.mean() - 150) < 5 * math.sqrt(75 / models)
    assert abs(sizes.var() / 75 - 1) < 5 * math.sqrt(2 / models)
    assert abs(counts.var() / (models / 4) - 1) < 5 * math.sqrt(2 / 300)
    # Pairs of examples and pairs of models are uncorrelated.
    signs = 2.0 * bits - 1
    for correlations in (signs.T @ signs / models, signs @ signs.T / 300):
        off = correlations[~np.eye(len(correlations), dtype=bool)]
        samples = models if len(correlations) == 300 else 300
        assert abs(off.var() * samples - 1) < 0.05
        assert np.abs(off).max() < 6 / math.sqrt(samples)


def test_bits_differ_between_seeds_and_not_between_data():
    first, second = population_of(RAW, pool=50), population_of(table(n=300), pool=50)
    bits = membership(first, models=8, seed=0)
    assert np.array_equal(bits, membership(second, models=8, seed=0))
    assert not np.array_equal(bits, membership(first, models=8, seed=1))


def test_the_data_layer_needs_neither_torch_nor_scikit_learn():
    code = (
        "import sys, dpbench.data as d;"
        "d.load_population(d.PopulationSpec(dataset='letter', pool=50), seed=0, data_dir=None);"
        "assert not {'torch', 'torchvision', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
