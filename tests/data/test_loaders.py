"""Loaders: each format on tiny synthetic files, and the real files where they are present."""

import gzip
import io
import pickle
import struct
import sys
import tarfile

import numpy as np
import pytest
from given_data import real_data

from dpbench.component import REGISTRIES
from dpbench.data import (
    Adult,
    BreastCancer,
    Cifar10,
    Cifar100,
    Digits,
    FashionMnist,
    FashionMnistFull,
    GermanCredit,
    Letter,
    Location,
    Mnist,
    Pima,
    PopulationSpec,
    Purchase100,
    Texas100,
    embedded,
    load_population,
)
from dpbench.data.cifar import parse_batch
from dpbench.data.idx import parse_idx
from dpbench.data.published import PublishedFile, digest_of
from dpbench.data.shokri import parse_bits, parse_labels
from dpbench.errors import UserError

REAL = real_data()
needs_real_data = pytest.mark.skipif(
    REAL is None, reason="no downloaded data: set DPBENCH_DATA to their folder"
)


def publish(monkeypatch, dataset, folder, contents):
    """Puts contents where a set's files are looked for, and makes theirs the published digests."""
    files = []
    for file, content in zip(dataset.files, contents, strict=True):
        path = folder / file.paths[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        digest = digest_of(content, file.digest.partition(":")[0])
        files.append(PublishedFile(paths=file.paths, digest=digest, url=file.url))
    monkeypatch.setattr(dataset, "files", tuple(files))


def tgz(**members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name.replace("__", "/"))
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


# MNIST and Fashion-MNIST


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.mark.parametrize("dataset", [Mnist, FashionMnistFull])
def test_idx_sets(monkeypatch, tmp_path, dataset):
    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(256, size=(6, 28, 28)).astype(np.uint8),
        rng.integers(10, size=6).astype(np.uint8),
        rng.integers(256, size=(4, 28, 28)).astype(np.uint8),
        rng.integers(10, size=4).astype(np.uint8),
    ]
    publish(monkeypatch, dataset, tmp_path, [idx(array) for array in arrays])
    raw = dataset().load(tmp_path)
    assert np.array_equal(raw.train_x[:, 0], arrays[0])
    assert np.array_equal(raw.train_y, arrays[1])
    assert np.array_equal(raw.test_x[:, 0], arrays[2])
    assert np.array_equal(raw.test_y, arrays[3])
    assert raw.train_x.shape == (6, 1, 28, 28)
    assert raw.is_image
    assert raw.n_classes == 10


def test_torchvision_reads_the_same_layout(monkeypatch, tmp_path):
    from torchvision.datasets import MNIST

    rng = np.random.default_rng(0)
    arrays = [
        rng.integers(9, size=shape).astype(np.uint8) for shape in [(5, 28, 28), 5, (3, 28, 28), 3]
    ]
    publish(monkeypatch, Mnist, tmp_path, [idx(array) for array in arrays])
    for path in list((tmp_path / "MNIST" / "raw").iterdir()):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    raw = Mnist().load(tmp_path)
    theirs = MNIST(tmp_path, train=True)
    assert np.array_equal(theirs.data.numpy(), raw.train_x[:, 0])
    assert np.array_equal(theirs.targets.numpy(), raw.train_y)


@pytest.mark.parametrize(
    "content", [b"", b"\0\0\x0d\x01" + bytes(8), b"\0\0\x08\x03\0\0", b"\0\0\x08\x01\0\0\0\x05abc"]
)
def test_damaged_idx(content):
    with pytest.raises(UserError, match="demo: .*IDX"):
        parse_idx(content, where="demo")


# CIFAR


def cifar_record(label, red, green, blue):
    return bytes([label]) + b"".join(bytes([colour]) * 1024 for colour in (red, green, blue))


def test_cifar_batch_is_planar_and_row_major():
    first = bytearray(cifar_record(3, 1, 2, 3))
    first[1 + 1024 + 32 * 2 + 5] = 77  # green, row 2, column 5
    images, labels = parse_batch(bytes(first) + cifar_record(9, 4, 5, 6), where="demo")
    assert labels.tolist() == [3, 9]
    assert images.shape == (2, 3, 32, 32)
    assert images[0, 1, 2, 5] == 77
    assert images[1, :, 0, 0].tolist() == [4, 5, 6]


@pytest.mark.parametrize("content", [b"", bytes(3072), cifar_record(10, 0, 0, 0)])
def test_damaged_cifar_batch(content):
    with pytest.raises(UserError, match="demo: "):
        parse_batch(content, where="demo")


def test_cifar10_takes_the_batches_that_are_there(monkeypatch, tmp_path):
    batches = [cifar_record(label, label, 0, 0) for label in range(6)]
    publish(monkeypatch, Cifar10, tmp_path, batches)
    whole = Cifar10().load(tmp_path)
    assert whole.train_y.tolist() == [0, 1, 2, 3, 4]
    assert whole.test_y.tolist() == [5]
    folder = tmp_path / "cifar-10-batches-bin"
    for name in ("test_batch", "data_batch_4"):
        (folder / f"{name}.bin").unlink()
    part = Cifar10().load(tmp_path)
    assert part.train_y.tolist() == [0, 1, 2, 4]
    assert part.test_x is None
    (folder / "data_batch_1.bin").unlink()
    with pytest.raises(UserError, match=r"cifar10: .*data_batch_1\.bin is not in"):
        Cifar10().load(tmp_path)


@pytest.mark.parametrize(
    ("dataset", "name", "key", "classes"),
    [(Cifar10, "CIFAR10", "labels", 10), (Cifar100, "CIFAR100", "fine_labels", 100)],
)
def test_cifar_in_torchvisions_layout(monkeypatch, tmp_path, dataset, name, key, classes):
    from torchvision import datasets

    torchvision_class = getattr(datasets, name)
    folder = tmp_path / torchvision_class.base_folder
    folder.mkdir()
    rng = np.random.default_rng(0)

    def write(filename, entry):
        content = pickle.dumps(entry)
        (folder / filename).write_bytes(content)
        return [filename, digest_of(content, "md5").removeprefix("md5:")]

    train, test = (rng.integers(256, size=(n, 3072)).astype(np.uint8) for n in (4, 2))
    monkeypatch.setattr(
        torchvision_class, "train_list", [write("train", {"data": train, key: [1, 2, 3, 4]})]
    )
    monkeypatch.setattr(
        torchvision_class, "test_list", [write("test", {"data": test, key: [5, 6]})]
    )
    meta = write("meta", {"names": ["a"]})
    monkeypatch.setattr(
        torchvision_class, "meta", {"filename": "meta", "key": "names", "md5": meta[1]}
    )
    raw = dataset().load(tmp_path)
    assert raw.n_classes == classes
    assert np.array_equal(raw.train_x, train.reshape(4, 3, 32, 32))
    assert np.array_equal(raw.test_x, test.reshape(2, 3, 32, 32))
    assert raw.train_y.tolist() == [1, 2, 3, 4]
    assert raw.test_y.tolist() == [5, 6]
    (folder / "train").write_bytes(b"damaged")
    with pytest.raises(UserError, match=f"torchvision.datasets.{name}"):
        dataset().load(tmp_path)


def test_missing_cifar100_is_explained(tmp_path):
    with pytest.raises(UserError, match="dpbench download cifar100"):
        Cifar100().load(tmp_path)


# Location-30, Purchase-100, Texas-100


def bit_lines(bits, labels, quote):
    rows = (
        ",".join([f"{quote}{y}{quote}", *map(str, x)]) for x, y in zip(bits, labels, strict=True)
    )
    return "\n".join(rows).encode() + b"\n"


@pytest.mark.parametrize(
    ("dataset", "member", "width", "classes"),
    [(Location, "bangkok", 446, 30), (Purchase100, "dataset_purchase", 600, 100)],
)
@pytest.mark.parametrize("quote", ["", '"'])
def test_labelled_bits(monkeypatch, tmp_path, dataset, member, width, classes, quote):
    bits = np.random.default_rng(0).integers(2, size=(5, width))
    labels = [1, 7, classes, 2, 2]
    archive = tgz(README=b"?", **{member: bit_lines(bits, labels, quote)})
    publish(monkeypatch, dataset, tmp_path, [archive])
    raw = dataset().load(tmp_path)
    assert np.array_equal(raw.train_x, bits)
    assert raw.train_y.tolist() == [0, 6, classes - 1, 1, 1]
    assert raw.n_classes == classes
    assert raw.binary.shape == (width,)
    assert raw.binary.all()
    assert raw.test_x is None


def test_texas100(monkeypatch, tmp_path):
    bits = np.random.default_rng(0).integers(2, size=(3, 6169))
    feats = "\n".join(",".join(map(str, row)) for row in bits).encode()
    archive = tgz(texas__100__feats=feats, texas__100__labels=b"1\n100\n4\n")
    publish(monkeypatch, Texas100, tmp_path, [archive])
    raw = Texas100().load(tmp_path)
    assert np.array_equal(raw.train_x, bits)
    assert raw.train_y.tolist() == [0, 99, 3]
    publish(
        monkeypatch, Texas100, tmp_path, [tgz(texas__100__feats=feats, texas__100__labels=b"1")]
    )
    with pytest.raises(UserError, match="3 rows of features but 1 labels"):
        Texas100().load(tmp_path)


def test_an_archive_without_its_member(monkeypatch, tmp_path):
    publish(monkeypatch, Location, tmp_path, [tgz(other=b"1,0")])
    with pytest.raises(UserError, match="location: no regular file 'bangkok'"):
        Location().load(tmp_path)


@pytest.mark.parametrize("line", [b"0,1", b"0,1,1,0", b"0,1,2", b"0;1,1", b"0,1,x", b""])
def test_lines_that_are_not_bits(line):
    with pytest.raises(UserError, match="demo: line 2"):
        parse_bits([b"0,1,1", line], width=3, where="demo")


@pytest.mark.parametrize("field", [b"0", b"4", b"x", b"", b"-1", b'"1.5"'])
def test_labels_out_of_range(field):
    with pytest.raises(UserError, match=r"demo: line 2: label .*\n.*1 to 3"):
        parse_labels([b"1", field], n_classes=3, where="demo")


def test_a_tampered_archive_is_refused(tmp_path):
    (tmp_path / "dataset_location.tgz").write_bytes(tgz(bangkok=b"1,0"))
    with pytest.raises(UserError, match="0cfc2caa0c8c8569cd68a5d4ab369a98c1f98447"):
        Location().load(tmp_path)


# Small tables


def test_german_credit_categories_become_bits(monkeypatch, tmp_path):
    row = "A11 6 A34 A43 1169 A65 A75 4 A93 A101 4 A121 67 A143 A152 2 A173 1 A192 A201 {}"
    lines = [row.format(1), row.format(2).replace("A11", "A14").replace("1169", "99")]
    publish(monkeypatch, GermanCredit, tmp_path, ["\n".join(lines).encode()])
    raw = GermanCredit().load(tmp_path)
    assert raw.train_y.tolist() == [0, 1]
    assert raw.train_x[:, :7].tolist() == [[6, 1169, 4, 4, 67, 2, 1], [6, 99, 4, 4, 67, 2, 1]]
    # Twelve columns of one category, and one column of two.
    assert raw.train_x[:, 7:].tolist() == [[1, 0] + [1] * 12, [0, 1] + [1] * 12]
    assert raw.binary.tolist() == [False] * 7 + [True] * 14


@pytest.mark.parametrize(("header", "labels"), [("a,b,c,d,e,f,g,h,y\n", "neg pos"), ("", "0 1")])
def test_pima_with_either_spelling(tmp_path, header, labels):
    negative, positive = labels.split()
    rows = [f"{i},1,2,3,4,5,.5,7,{positive if i < 268 else negative}" for i in range(768)]
    path = tmp_path / "pima-indians-diabetes.csv"
    path.write_text(header + "\n".join(rows) + "\n")
    raw = Pima().load(tmp_path)
    assert raw.train_x.shape == (768, 8)
    assert raw.train_x[5].tolist() == [5, 1, 2, 3, 4, 5, 0.5, 7]
    assert raw.train_y.sum() == 268
    path.write_text(header + "\n".join(rows[1:]) + "\n")
    with pytest.raises(UserError, match="767 labelled rows, 267 positive"):
        Pima().load(tmp_path)


def test_missing_pima_is_explained(tmp_path):
    with pytest.raises(UserError, match=r"pima: uci/pima.* is not in the data folder(?s:.*)openml"):
        Pima().load(tmp_path)


def test_scikit_learn_sets(tmp_path):
    pytest.importorskip("sklearn")
    digits, cancer = Digits().load(tmp_path), BreastCancer().load(tmp_path)
    assert digits.train_x.shape == (1797, 1, 8, 8)
    assert digits.is_image
    assert (digits.train_x.min(), digits.train_x.max()) == (0, 1)
    assert cancer.train_x.shape == (569, 30)
    assert np.bincount(cancer.train_y).tolist() == [212, 357]


def test_without_scikit_learn_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UserError, match=r"digits: (?s:.*)dp-defense-bench\[oracle\]"):
        Digits().load(tmp_path)


# Embedded


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


@pytest.mark.parametrize("name", sorted(REGISTRIES["dataset"]))
def test_every_set_says_where_it_comes_from(name):
    dataset = REGISTRIES["dataset"][name]
    assert dataset.licence
    assert dataset.source
    assert dataset.__doc__
    assert dataset.name == name


# Real files


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
