"""The embedded sets, and the published files they and the loaders are checked against."""

import numpy as np
import pytest
from given_data import real_data

from dpbench.component import REGISTRIES
from dpbench.data import (
    Adult,
    FashionMnist,
    FashionMnistFull,
    Letter,
    PopulationSpec,
    embedded,
    load_population,
)
from dpbench.errors import UserError

REAL = real_data()
needs_real_data = pytest.mark.skipif(
    REAL is None, reason="no downloaded data: set DPBENCH_DATA to their folder"
)


def test_embedded_sets_are_what_they_say(tmp_path):
    fashion, letter, adult = (dataset().load(tmp_path) for dataset in (FashionMnist, Letter, Adult))
    assert fashion.train_x.shape == (10_000, 1, 28, 28)
    assert fashion.test_x.shape == (5_000, 1, 28, 28)
    assert np.bincount(fashion.train_y).tolist() == [1000] * 10
    assert np.bincount(fashion.test_y).tolist() == [500] * 10
    assert letter.train_x.shape == (20_000, 16)
    assert letter.n_classes == len(set(letter.train_y)) == 26
    assert adult.train_x.shape == (32_561, 108)
    assert adult.test_x.shape == (16_281, 108)
    assert adult.binary.tolist() == [False] * 6 + [True] * 102
    assert set(np.unique(adult.train_x[:, 6:])) == {0, 1}
    # Each of the eight categorical columns is one-hot.
    assert np.all(adult.train_x[:, 6:].sum(axis=1) == 8)
    assert adult.train_y.sum() == 7841


@pytest.mark.parametrize("name", ["adult", "fashion_mnist", "letter"])
def test_a_changed_embedded_file_is_refused(monkeypatch, tmp_path, name):
    monkeypatch.setattr(embedded, "files", lambda _: tmp_path)
    (tmp_path / f"{name}.npz").write_bytes(b"changed")
    (tmp_path / "digests.json").write_text(f'{{"{name}.npz": "0123"}}')
    with pytest.raises(UserError, match=rf"embedded data {name}\.npz: sha256 .*\n.*0123"):
        embedded.read_embedded(name)


def test_every_embedded_set_has_a_licence_text():
    folder = embedded.files(embedded.__name__)
    for name, dataset in REGISTRIES["dataset"].items():
        if dataset.embedded:
            text = (folder / f"LICENSE-{name}.txt").read_text(encoding="utf-8")
            assert {"MIT": "The MIT License", "CC BY 4.0": "CC BY 4.0"}[dataset.licence] in text
            assert name in text


@needs_real_data
@pytest.mark.parametrize(
    ("name", "pool", "shape", "n_test", "classes"),
    [
        ("fashion_mnist_full", 3000, (1, 28, 28), 10_000, 10),
        ("location", 1500, (446,), 1002, 30),
        ("cifar10", 3000, (3, 32, 32), 4000, 10),
        ("german_credit", 300, (61,), 200, 2),
        ("pima", 300, (8,), 153, 2),
    ],
)
def test_real_sets(name, pool, shape, n_test, classes):
    spec = PopulationSpec(dataset=name, pool=pool)
    population = load_population(spec, seed=0, data_dir=REAL)
    assert population.pool_x.shape == (pool, *shape)
    assert len(population.test_x) == n_test
    assert population.n_classes == classes
    assert set(np.unique(population.pool_y)) == set(range(classes))


@needs_real_data
def test_embedded_images_come_from_the_published_ones():
    whole, sample = FashionMnistFull().load(REAL), FashionMnist().load(REAL)
    for part in ("train", "test"):
        published = {
            (image.tobytes(), label)
            for image, label in zip(
                getattr(whole, f"{part}_x"), getattr(whole, f"{part}_y"), strict=True
            )
        }
        pairs = zip(getattr(sample, f"{part}_x"), getattr(sample, f"{part}_y"), strict=True)
        assert all((image.tobytes(), label) in published for image, label in pairs)


@needs_real_data
def test_embedded_letters_equal_the_published_rows():
    rows = [line.split(",") for line in (REAL / "uci/letter-recognition.data").read_text().split()]
    raw = Letter().load(REAL)
    assert np.array_equal(raw.train_x, np.array([row[1:] for row in rows], dtype=int))
    assert [chr(ord("A") + label) for label in raw.train_y] == [row[0] for row in rows]


@needs_real_data
@pytest.mark.parametrize(("file", "part"), [("adult.data", "train"), ("adult.test", "test")])
def test_embedded_adult_equals_the_published_rows(file, part):
    lines = [line for line in (REAL / "uci" / file).read_text().splitlines() if line.count(",") > 9]
    rows = [[cell.strip(" .") for cell in line.split(",")] for line in lines]
    raw = Adult().load(REAL)
    x, y = getattr(raw, f"{part}_x"), getattr(raw, f"{part}_y")
    numbers = np.array([[row[i] for i in (0, 2, 4, 10, 11, 12)] for row in rows], dtype=int)
    assert np.array_equal(x[:, :6], numbers)
    assert np.array_equal(y, [row[14] == ">50K" for row in rows])
    # Two rows share a category exactly where they share its bits.
    start = 6
    for column in (1, 3, 5, 6, 7, 8, 9, 13):
        cells = np.array([row[column] for row in rows])
        names = sorted({*cells, *_other_part(column, part)})
        bits = x[:, start : start + len(names)]
        assert np.array_equal(np.array(names)[bits.argmax(axis=1)], cells)
        start += len(names)
    assert start == x.shape[1]


def _other_part(column, part):
    file = REAL / "uci" / ("adult.test" if part == "train" else "adult.data")
    lines = [line for line in file.read_text().splitlines() if line.count(",") > 9]
    return {line.split(",")[column].strip(" .") for line in lines}
