"""Loaders: each format on tiny synthetic files, and the real files where they are present."""

import gzip
import io
import pickle
import struct
import sys
import tarfile

import numpy as np
import pytest

from dpbench.component import REGISTRIES
from dpbench.data import (
    BreastCancer,
    Cifar10,
    Cifar100,
    Digits,
    FashionMnistFull,
    GermanCredit,
    Location,
    Mnist,
    Pima,
    Purchase100,
    Texas100,
)
from dpbench.data.cifar import parse_batch
from dpbench.data.idx import parse_idx
from dpbench.data.published import PublishedFile, digest_of
from dpbench.data.shokri import parse_bits, parse_labels
from dpbench.errors import UserError


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
    with pytest.raises(UserError, match=r"demo: .*IDX"):
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


@pytest.mark.parametrize("name", sorted(REGISTRIES["dataset"]))
def test_every_set_says_where_it_comes_from(name):
    dataset = REGISTRIES["dataset"][name]
    assert dataset.licence
    assert dataset.source
    assert dataset.__doc__
    assert dataset.name == name
