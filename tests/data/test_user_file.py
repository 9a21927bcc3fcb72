"""A user's own file: every accepted form, and every hostile one."""

import io
import re
import struct
import zipfile

import numpy as np
import pytest

from dpbench import npz
from dpbench.data import File, PopulationSpec, load_population
from dpbench.errors import UserError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = np.arange(60) % 3


def saved(tmp_path, **arrays):
    path = tmp_path / "mine.npz"
    np.savez(path, **arrays)
    return path


def load(path):
    return File(path=str(path)).load(path.parent)


def one_hot(labels):
    return np.eye(labels.max() + 1)[labels]


@pytest.mark.parametrize(
    ("keys", "labels"),
    [
        (("x", "y"), Y + 1),
        (("X", "Y"), Y),
        (("features", "labels"), one_hot(Y)),
        (("x", "y"), one_hot(Y).astype(bool)),
        (("x", "y"), Y[:, None]),
        (("x", "y"), Y.astype(float)),
        (("x", "y"), Y * 10 - 7),
        (("x", "y"), np.array(["cat", "dog", "elk"])[Y]),
        (("x", "y"), np.array([b"cat", b"dog", b"elk"])[Y]),
    ],
)
def test_npz_forms(tmp_path, keys, labels):
    raw = load(saved(tmp_path, **dict(zip(keys, (X, labels), strict=True))))
    assert np.array_equal(raw.train_x, X)
    assert np.array_equal(raw.train_y, Y)
    assert raw.train_y.dtype == np.int64
    assert raw.n_classes == 3
    assert not raw.is_image


@pytest.mark.parametrize("suffix", ["compressed", "plain"])
def test_a_population_from_a_file(tmp_path, monkeypatch, suffix):
    save = np.savez_compressed if suffix == "compressed" else np.savez
    save(tmp_path / "mine.npz", x=X, y=Y)
    monkeypatch.chdir(tmp_path)
    spec = PopulationSpec(dataset="file", path="mine.npz", pool=24)
    population = load_population(spec, seed=0, data_dir=None)
    assert population.pool_x.shape == (24, 3)
    assert [len(population.test_x), len(population.reference_x)] == [12, 24]


def test_columns_of_zeros_and_ones_are_bits_unless_declared_otherwise(tmp_path):
    x = np.column_stack([Y > 0, X, Y > 1]).astype(float)
    assert load(saved(tmp_path, x=x, y=Y)).binary.tolist() == [True, False, False, False, True]
    declared = np.array([True, False, False, False, False])
    assert np.array_equal(load(saved(tmp_path, x=x, y=Y, binary=declared)).binary, declared)


@pytest.mark.parametrize("declared", [[1, 0, 0], [True, False], [False, False, True]])
def test_a_false_declaration_of_bits(tmp_path, declared):
    x = np.column_stack([Y > 0, X[:, :2]]).astype(float)
    with pytest.raises(UserError, match=r"'binary' is "):
        load(saved(tmp_path, x=x, y=Y, binary=np.array(declared)))


@pytest.mark.parametrize("shape", [(60, 4, 6), (60, 1, 4, 6), (60, 3, 4, 6)])
def test_images(tmp_path, shape):
    whole = RNG.integers(256, size=shape)
    for x, kind in (
        (whole, np.uint8),
        (whole.astype(np.uint8), np.uint8),
        (whole / 255, np.float32),
    ):
        raw = load(saved(tmp_path, x=x, y=Y))
        assert raw.is_image
        assert raw.train_x.dtype == kind
        assert raw.train_x.shape == (60, *((1,) if len(shape) == 3 else ()), *shape[1:])
        np.testing.assert_allclose(raw.train_x.ravel(), x.ravel().astype(kind))
        assert not raw.binary.any()


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((60, 32, 32, 3)), "transpose"),
        (np.full((60, 4, 4), 300), "pixels range from 300 to 300"),
        (np.full((60, 4, 4), -0.5), "pixels range"),
        (np.full((60, 4, 4), 254.0), "pixels range"),
        (np.zeros((60, 1, 1, 2, 2)), "images of shape"),
        (np.zeros(60), "do not go with labels"),
        (np.zeros((60, 0)), "do not go with labels"),
        (np.zeros((59, 2)), "do not go with labels"),
        (np.full((60, 2), 1j), "inputs are complex128"),
        (np.full((60, 2), "a"), "inputs are <U1"),
    ],
)
def test_inputs_that_are_refused(tmp_path, x, message):
    with pytest.raises(UserError, match=message):
        load(saved(tmp_path, x=x, y=Y))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -4e38])
def test_nan_and_infinity_name_the_column(tmp_path, value):
    x = X.copy()
    x[17, 2] = value
    with pytest.raises(UserError, match=rf"column '2', row 17: {re.escape(str(value))}"):
        load(saved(tmp_path, x=x, y=Y))


def test_nan_in_an_image_names_the_pixel(tmp_path):
    x = np.zeros((60, 4, 4))
    x[5, 1, 3] = np.nan
    with pytest.raises(UserError, match=r"column '1, 3', row 5: nan"):
        load(saved(tmp_path, x=x, y=Y))


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (Y + 0.5, "not whole numbers"),
        (np.where(Y == 1, np.nan, Y), "not whole numbers"),
        (np.full(60, 4), "all labels are 4"),
        (np.ones((60, 3)), "not one-hot"),
        (one_hot(Y) * 2, "not one-hot"),
        (np.zeros((60, 3, 2)), "labels of shape"),
        (Y.astype(complex), "type complex128"),
        (Y[:59], "do not go with"),
    ],
)
def test_labels_that_are_refused(tmp_path, y, message):
    with pytest.raises(UserError, match=message):
        load(saved(tmp_path, x=X, y=y))


@pytest.mark.parametrize("key", ["x", "y"])
def test_object_arrays_are_never_unpickled(tmp_path, key):
    arrays = {"x": X, "y": Y}
    arrays[key] = np.array([print] * 60, dtype=object)
    with pytest.raises(UserError, match=f"'{key}' holds Python objects"):
        load(saved(tmp_path, **arrays))


def npy(shape, *, body=b"", dtype="'<f8'"):
    header = f"{{'descr': {dtype}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def zipped(tmp_path, **members):
    path = tmp_path / "hostile.npz"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


@pytest.mark.parametrize("shape", [(10**12, 10**6), (2**63, 2**63), (4,), (0,), (-1,), (2**64,)])
def test_headers_that_promise_other_bytes_are_refused_before_anything_is_allocated(tmp_path, shape):
    with pytest.raises(UserError, match=r"hostile\.npz.*(promises|cannot be read)"):
        load(zipped(tmp_path, x=npy(shape, body=bytes(24)), y=npy((3,), body=bytes(24))))


def test_an_array_above_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MAX_BYTES", 1000)
    with pytest.raises(UserError, match="at most 1,000"):
        load(saved(tmp_path, x=X, y=Y))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"junk",
        npy((3, 1), body=bytes(24), dtype="'|O'"),
        npy((3, 1), body=bytes(24), dtype="__import__('os')"),
        b"\x93NUMPY\x09\x00" + bytes(100),
    ],
)
def test_damaged_members(tmp_path, content):
    with pytest.raises(UserError, match=r"hostile\.npz"):
        load(zipped(tmp_path, x=content, y=npy((3,), body=bytes(24))))


def test_damaged_archives(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=X, y=Y)
    whole = buffer.getvalue()
    flipped = bytearray(whole)
    flipped[200] ^= 0xFF
    for content in (b"", b"PK", whole[:300], bytes(flipped)):
        path = tmp_path / "broken.npz"
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"broken\.npz: .*cannot be read"):
            load(path)


def test_other_keys_are_listed(tmp_path):
    with pytest.raises(
        UserError, match=r"its keys are data, target\n.*x and y, features and labels"
    ):
        load(saved(tmp_path, data=X, target=Y))


def test_a_missing_file_and_an_unknown_type(tmp_path):
    with pytest.raises(UserError, match=r"population\.path: there is no file '.*gone\.npz'"):
        load(tmp_path / "gone.npz")
    with pytest.raises(UserError, match=r"population\.path: '.*mine\.pkl' is of an unknown type"):
        load(tmp_path / "mine.pkl")


def written(tmp_path, text):
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "age,label,weight\n1,no,2.5\n3,yes,-4\n\n5,no,1e3\n",
        "\ufeffage, label ,weight\r\n1,no,2.5\r\n3,yes,-4\r\n5,no,1e3\r\n",
        "age,weight,outcome\n1,2.5,no\n3,-4,yes\n5,1e3,no\n",
        '1,2.5,"no"\n3,-4,"yes"\n5,1e3,"no"\n',
        "1,2.5,0\n3,-4,1\n5,1e3,0\n",
        "1,2.5,1.0\n3,-4,2.0\n5,1e3,1.0\n",
    ],
)
def test_csv_forms(tmp_path, text):
    raw = load(written(tmp_path, text))
    assert raw.train_x.tolist() == [[1, 2.5], [3, -4], [5, 1000]]
    assert raw.train_y.tolist() == [0, 1, 0]
    assert raw.n_classes == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "0 rows of 0 columns"),
        ("a,b\n", "0 rows of 2 columns"),
        ("1\n2\n", "rows of 1 columns"),
        ("1,2,0\n1,2\n", "row 2 has 2 fields"),
        ("age,label\n1,0\nold,1\n", "column 'age', row 2: 'old' is not a number"),
        ("age,label\n1,0\n,1\n", "column 'age', row 2: '' is a missing value"),
        ("1,x,0\n2,y,1\n", "column 'column 2', row 1: 'x' is not a number"),
        ("age,label\n1,0\nnan,1\n", "column 'age', row 2: 'nan' is a missing value"),
        ("age,label\n1,0\n2,\n", "row 2 has no label"),
        ("age,label\n1,0.5\n2,1\n", "not whole numbers"),
        ("age,label\n1,nan\n2,1\n", "row 1 has no label: 'nan'"),
        ("1,0\n2,0\n", "all labels are 0"),
    ],
)
def test_csv_that_is_refused(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        load(written(tmp_path, text))


def test_binary_content_in_a_csv(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(UserError, match=r"cannot be read as \.csv"):
        load(path)


def test_a_csv_above_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(npz, "MAX_BYTES", 4)
    with pytest.raises(UserError, match="at most 4"):
        load(written(tmp_path, "1,2\n3,4\n"))
