import math

import pytest

from dpbench.errors import UserError
from dpbench.study.document import read_document, write_document


def written(tmp_path, text: str):
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    return path


def test_floats_without_a_point_are_numbers(tmp_path):
    document = read_document(written(tmp_path, "a: 1e-3\nb: .inf\nc: 2E5\nd: 1.5e+2\ne: 12\n"))
    assert document == {"a": 1e-3, "b": math.inf, "c": 2e5, "d": 150.0, "e": 12}


def test_dates_stay_text(tmp_path):
    assert read_document(written(tmp_path, "a: 2024-01-01")) == {"a": "2024-01-01"}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\na: 2\n", "line 2: the key 'a' appears twice"),
        ("a: &x [1]\nb: *x\n", "line 2: aliases are not allowed"),
        ("a: [1, 2\n", "line"),
        ("- 1\n", "a grid is a mapping"),
        ("", "a grid is a mapping"),
        ("1: 2\n", "is not text"),
        ("a: !!python/object:os.system x\n", "line 1: the tag .*os.system is not allowed"),
        ("a: !!timestamp 2024-01-01\n", "the tag .*timestamp is not allowed"),
        ("a: [1, .nan]\n", "line 1: .nan is not a number that a grid can hold"),
        ("a: " + "9" * 5000, "has 5000 digits"),
        ("a: 0x_\n", "a value cannot be read"),
        ('a: "\\ud800"\n', "holds a character that cannot be printed"),
        ('"\\e[31m": 1\n', r"'.x1b\[31m' holds a character"),
        ("[" * 5000, "grid.yaml"),
    ],
)
def test_what_is_not_a_grid_is_refused(tmp_path, text, complaint):
    with pytest.raises(UserError, match=complaint):
        read_document(written(tmp_path, text))


def test_a_huge_file_is_refused_unread(tmp_path):
    with pytest.raises(UserError, match="too large"):
        read_document(written(tmp_path, "a: " + "x" * 1_000_001))


def test_a_missing_file_and_binary_are_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_document(tmp_path / "none.yaml")
    path = tmp_path / "binary.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(UserError, match="cannot be read"):
        read_document(path)


def test_writing_and_reading_returns_the_same(tmp_path):
    document = {"z": [1, {"epsilon": math.inf}], "a": {"b": None, "c": 1e-05, "d": "é"}}
    write_document(document, tmp_path / "out.yaml")
    assert read_document(tmp_path / "out.yaml") == document
