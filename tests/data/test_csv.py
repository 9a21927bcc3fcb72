"""Files as programs write them: read as they were meant, or refused with what to do."""

import contextlib
import csv
import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpbench.data import File, PopulationSpec, load_population
from dpbench.errors import UserError

RNG = np.random.default_rng(0)
Y = np.tile([2, 0, 1], 20)
X = RNG.normal(size=(60, 5)).round(3)
TABLE = pd.DataFrame(X, columns=list("abcde")).assign(label=Y)


def load(folder, content, **options):
    path = folder / "mine.csv"
    if isinstance(content, pd.DataFrame):
        content = content.to_csv(**({"index": False} | options))
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return File(path=str(path)).load(folder)


def is_right(raw, inputs=X):
    return (
        np.array_equal(raw.train_x, inputs)
        and np.array_equal(raw.train_y, Y)
        and raw.n_classes == 3
    )


def numbered(names):
    """The table under other names."""
    return pd.DataFrame(X).assign(t=Y).set_axis([*map(str, names)], axis=1)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("quoting", [csv.QUOTE_MINIMAL, csv.QUOTE_ALL])
def test_separators_line_ends_encodings_and_quotes(tmp_path, separator, end, encoding, quoting):
    text = TABLE.to_csv(index=False, sep=separator, lineterminator=end, quoting=quoting)
    assert is_right(load(tmp_path, text.encode(encoding)))


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_decimal_commas(tmp_path, separator):
    raw = load(tmp_path, TABLE, sep=separator, decimal=",")
    assert is_right(raw)
    assert raw.told.read_as.endswith("decimal commas")
    assert is_right(load(tmp_path, TABLE, sep=separator, decimal=",", header=False))


def test_the_line_that_names_the_separator(tmp_path):
    assert is_right(load(tmp_path, "sep=;\r\n" + TABLE.to_csv(index=False, sep=";")))


@pytest.mark.parametrize(
    "names",
    [
        ["0", "1", "2", "3", "4", "target"],  # pandas' own names, and a named label
        ["1", "2", "3", "4", "5", "label"],
        [400.5, 401.5, 403.0, 404.5, 407.0, "class"],
        ["age", 1990, 1991, 1992, 1993, "outcome"],
        ["a", "b", "c", "d", "e", "5"],
    ],
)
def test_headers_of_numbers_with_a_named_label(tmp_path, names):
    if names[-1] == "5":
        with pytest.raises(UserError, match="may name the columns, and may be an example"):
            load(tmp_path, numbered(names))
    else:
        assert is_right(load(tmp_path, numbered(names)))


@pytest.mark.parametrize("names", [[0, 1, 2, 3, 4, 5], [5, 3, 9, 2, 7, 1], [1, 2, 3, 4, 5, 0]])
def test_headers_of_numbers_alone_may_be_examples(tmp_path, names):
    with pytest.raises(UserError, match=r"the first row, \d(.|\n)*write a header"):
        load(tmp_path, numbered(names).rename(columns=str))


def test_whole_features_under_numbers_that_increase(tmp_path):
    whole = RNG.integers(0, 16, size=(60, 8))
    table = pd.DataFrame(whole).assign(label=Y)
    with pytest.raises(UserError, match="may be an example"):
        load(tmp_path, table.rename(columns={"label": 8}))
    assert is_right(load(tmp_path, table, header=False), whole)


@pytest.mark.parametrize("classes", [["cat", "dog", "elk"], ["setosa", "virginica", "versicolor"]])
def test_names_of_classes(tmp_path, classes):
    named = TABLE.assign(label=np.array(sorted(classes))[Y])
    for raw in (load(tmp_path, named), load(tmp_path, named, header=False)):
        assert is_right(raw)
        assert raw.told.class_names == tuple(sorted(classes))
    counted = named.set_axis(["0", "1", "2", "3", "4", "species"], axis=1)
    assert is_right(load(tmp_path, counted))
    with pytest.raises(UserError, match="400, 402, 405, 407, 411, species, may name"):
        load(tmp_path, named.set_axis([400, 402, 405, 407, 411, "species"], axis=1))
    assert is_right(load(tmp_path, named.set_axis(range(6), axis=1)))


def test_no_header_at_all(tmp_path):
    assert is_right(load(tmp_path, TABLE, header=False))
    raw = load(tmp_path, TABLE, header=False)
    assert raw.told.label_column == "column 6"
    assert raw.told.read_as == "no names in the first row, separated by commas"


@given(seed=st.integers(0, 10**6), width=st.integers(2, 8), whole=st.booleans())
def test_files_without_a_header_keep_their_rows_or_are_refused(
    tmp_path_factory, seed, width, whole
):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 9, (40, width)) if whole else rng.normal(size=(40, width))
    y = np.arange(40) % 2
    table = pd.DataFrame(x).assign(y=y)
    with contextlib.suppress(UserError):
        raw = load(tmp_path_factory.getbasetemp(), table, header=False)
        assert np.array_equal(raw.train_x, x)
    # A header of words settles what was refused.
    assert np.array_equal(load(tmp_path_factory.getbasetemp(), table.add_prefix("c")).train_x, x)


@given(names=st.lists(st.integers(0, 3000), min_size=3, max_size=8, unique=True))
def test_a_header_of_numbers_is_never_an_example(tmp_path_factory, names):
    rng = np.random.default_rng(len(names))
    x, y = rng.normal(size=(40, len(names))), np.arange(40) % 2
    table = pd.DataFrame(x, columns=names)
    folder = tmp_path_factory.getbasetemp()
    assert len(load(folder, table.assign(target=y)).train_y) == 40
    with pytest.raises(UserError, match="may be an example"):
        load(folder, table.assign(**{"7": y}))


@pytest.mark.parametrize(
    "table",
    [
        TABLE.reset_index(drop=True),
        TABLE.set_axis(range(1, 61)),
        TABLE.sample(frac=1, random_state=0),
        TABLE.set_axis([f"r{number}" for number in range(60)]),
    ],
)
def test_an_index_without_a_name_is_refused(tmp_path, table):
    with pytest.raises(UserError, match=r"column 1 has no name(.|\n)*write with index=False"):
        load(tmp_path, table, index=True)
    again = pd.read_csv(io.StringIO(table.to_csv()))  # as "Unnamed: 0"
    with pytest.raises(UserError, match=r"column 1 has no name(.|\n)*write with index=False"):
        load(tmp_path, again)


@pytest.mark.parametrize("name", ["index", "id", "ID", "row"])
@pytest.mark.parametrize("start", [0, 1, 17])
def test_row_numbers_are_refused_by_their_names(tmp_path, name, start):
    table = TABLE.set_axis(range(start, start + 60))
    with pytest.raises(UserError, match=rf"column 1, '{name}', counts the rows from {start} on"):
        load(tmp_path, table, index=True, index_label=name)
    with pytest.raises(UserError, match=rf"column 1 counts the rows from {start} on"):
        load(tmp_path, table, index=True, header=False)


@pytest.mark.parametrize("step", [1, 3])
def test_a_named_column_that_may_number_the_rows_is_noted(tmp_path, step):
    raw = load(tmp_path, TABLE.assign(customer=step * np.arange(60))[["customer", *TABLE]])
    assert raw.train_x.shape == (60, 6)
    (note,) = raw.told.notes
    assert note.startswith("feature 'customer' increases from row to row")
    np.savez(tmp_path / "mine.npz", x=np.column_stack([np.arange(60), X]), y=Y)
    (note,) = File(path=str(tmp_path / "mine.npz")).load(tmp_path).told.notes
    assert note.startswith("feature 0 increases")
    assert load(tmp_path, TABLE).told.notes == ()


def test_an_index_does_not_hide_duplicates(tmp_path):
    twice = pd.concat([TABLE, TABLE])
    load(tmp_path, twice)
    spec = PopulationSpec(dataset="file", path=str(tmp_path / "mine.csv"), pool=24)
    population = load_population(spec, seed=0, data_dir=None)
    parts = (population.pool_x, population.test_x, population.reference_x)
    rows = [tuple(row) for part in parts for row in part]
    assert len(rows) == len(set(rows)) == 60


def changed(row, column, value):
    table = TABLE.astype(object)
    table.iloc[row, list(table).index(column)] = value
    return table


@pytest.mark.parametrize("value", ["", "NA", "NaN", "nan", "N/A", "?", "null", "None", "-"])
def test_missing_values_name_row_and_column(tmp_path, value):
    with pytest.raises(UserError, match=r"column 'c', row 18: '.*' is a missing value"):
        load(tmp_path, changed(17, "c", value))
    with pytest.raises(UserError, match="row 18 has no label"):
        load(tmp_path, changed(17, "label", value))
    with pytest.raises(UserError, match=r"column 'column 1', row 1: '.*' is a missing value"):
        load(tmp_path, changed(0, "a", value), header=False)


def test_none_may_be_a_class(tmp_path):
    grades = np.array(["mild", "none", "severe"])[Y]
    assert load(tmp_path, TABLE.assign(label=grades)).told.class_names == ("mild", "none", "severe")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("1,234", "thousands separators"),
        ("1,234,567.5", "thousands separators"),
        ("1'234", "thousands separators"),
        ("1,5", "decimal points"),
        ("inf", "finite numbers"),
        ("red", "0/1 columns"),
        ("c", "write the header once"),
    ],
)
def test_what_is_not_a_number_says_what_to_do(tmp_path, value, said):
    with pytest.raises(UserError, match=rf"column 'c', row 18: (.|\n)*{said}"):
        load(tmp_path, changed(17, "c", value))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a;b;label\n1,234;5;0\n2,345;6;1\n", "'1,234' may be a decimal number or one with"),
        ("a;b;label\n1.234;5;0\n2.345;6;1\n", "'1.234' may be a decimal number or one with"),
        ("a;b;label\n1,5;2.5;0\n2;6;1\n", r"decimal commas \('1,5'\) and decimal points \('2.5'"),
        ("a;b;label\n1.234,5;5;0\n2,3;6;1\n", "row 1: '1.234,5' is not a number"),
        ("a,a,label\n1,2,0\n3,4,1\n", "columns 1 and 2 are both named 'a'"),
        ("label,a,label\n1,2,0\n3,4,1\n", "columns 1 and 3 are both named 'label'"),
        ("Label,a,label\n1,2,0\n3,4,1\n", "the label may be in 'Label', 'label'"),
        ("target,a,b\n0,2,0\n1,4,1\n", "the label may be in 'target', or in the last column, 'b'"),
        ("a,b,label,\n1,2,0,\n3,4,1,\n", "column 4 has no name and is empty"),
        ("a,b,label\nr1,1,2,0\nr2,3,4,1\n", r"row 2 has 4 fields(.|\n)*index=False"),
        ("a b label\n1 2 0\n3 4 1\n", "write commas for the spaces"),
        ("a,b,label\n1,2,0\na,b,label\n3,4,1\n", "row 2: 'a' repeats the header"),
        ("1.5,abc,0.3,0\n2,3,4,1\n5,6,7,1\n", "may be an example"),
        (b"a,b,label\n1,2,caf\xe9\n3,4,tea\n", "line 2: byte 0xe9 is not UTF-8(.|\n)*iconv"),
        ("a,b,label\n1,2,0\n".encode("utf-16-le"), "NUL characters"),
        ('a,b,label\n1,"2,0\n3,4,1\n', r"row 2 has 2 fields(.|\n)*quotation mark"),
    ],
)
def test_what_can_be_read_in_two_ways_or_in_none(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        load(tmp_path, content)


def test_true_and_false_are_bits(tmp_path):
    raw = load(tmp_path, TABLE.assign(a=TABLE["a"] > 0))
    assert np.array_equal(raw.train_x[:, 0], X[:, 0] > 0)
    assert raw.binary.tolist() == [True, False, False, False, False]


def test_a_comment_mark_before_the_header_is_no_part_of_a_name(tmp_path):
    text = "# label,a,b\n" + "\n".join(
        f"{y},{a},{b}" for y, (a, b) in zip(Y, X[:, :2], strict=True)
    )
    assert is_right(load(tmp_path, text), X[:, :2])


def test_what_was_understood_is_one_line(tmp_path):
    load(tmp_path, TABLE.assign(bit=Y > 1)[["bit", *TABLE]], sep=";")
    spec = PopulationSpec(dataset="file", path=str(tmp_path / "mine.csv"), pool=24)
    said = load_population(spec, seed=0, data_dir=None).understood
    assert said == (
        f"{tmp_path}/mine.csv: 60 rows, 6 features (1 of them bits), label column 'label', "
        "3 classes: 0 (33.3 %), 1 (33.3 %), 2 (33.3 %); "
        "names in the first row, separated by semicolons"
    )


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("letter", "letter: 20,000 rows, 16 features, 26 classes: 3.7 % to 4.1 % each"),
        (
            "adult",
            "adult: 48,842 rows, 108 features (102 of them bits), 2 classes: "
            "0 (76.1 %), 1 (23.9 %)",
        ),
    ],
)
def test_known_sets_are_described_likewise(dataset, said):
    population = load_population(PopulationSpec(dataset=dataset, pool=100), seed=0, data_dir=None)
    assert population.understood == said
    bare = dataclasses.replace(population, understood="")
    assert bare.digest == population.digest


def test_kept_classes_keep_their_names(tmp_path):
    table = TABLE.assign(label=np.array(["cat", "dog", "elk"])[Y])
    load(tmp_path, pd.concat([table, table.assign(a=table["a"] + 1)]))
    spec = PopulationSpec(
        dataset="file", path=str(tmp_path / "mine.csv"), pool=24, test=10, classes=(2, 0)
    )
    said = load_population(spec, seed=0, data_dir=None).understood
    assert "80 rows" in said
    assert "2 classes: elk (50.0 %), cat (50.0 %)" in said
