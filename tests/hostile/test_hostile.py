"""Wrong input loads or is refused with a message: seeded faults, and what hypothesis thinks of."""

import string

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bench.hostile.arrays import score_bytes
from bench.hostile.attempts import try_archive, try_data, try_grid, try_scores
from bench.hostile.command import try_command
from bench.hostile.grids import GRID, TOKENS
from dpbench.errors import UserError
from dpbench.privacy.audits.score_file import ScoreFile
from dpbench.seeds import rng_for
from dpbench.study.document import parse_text
from dpbench.study.spec import read_grids

CASES = 150


@pytest.mark.parametrize("attempt", [try_grid, try_scores, try_data, try_archive])
def test_files_with_seeded_faults(tmp_path, attempt):
    outcomes = [attempt(number, tmp_path) for number in range(CASES)]
    assert {outcome: outcomes.count(outcome) > 5 for outcome in outcomes} == {
        "loaded": True,
        "refused": True,
    }


@pytest.mark.parametrize("number", [0, 3])
def test_a_wrong_file_through_the_command_line(tmp_path, number):
    assert try_command(number, tmp_path) in ("exit 0", "exit 2")


@pytest.mark.parametrize("field", ["letter", "150", "0.1", "8", "1e-5", "online", "gap", "tiny"])
def test_every_token_in_every_kind_of_field(tmp_path, field):
    path = tmp_path / "grid.yaml"
    for token in TOKENS:
        text = GRID.replace(field, token, 1)
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
        with_message(lambda: read_grids(path))


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["none", "gap", "lira", "dp_sgd", "mlp", "letter", "all"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["dp_sgd", "l2", "epsilon", "k", "name", "pool", ""]), inner
        )
    ),
    max_leaves=8,
)


@given(field=st.sampled_from([*yaml.safe_load(GRID), "canaries", "plugins"]), value=VALUES)
def test_any_value_in_any_field_of_a_grid(tmp_path_factory, field, value):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    document = yaml.safe_load(GRID) | {field: value}
    path.write_text(yaml.safe_dump(document, allow_unicode=False), encoding="utf-8")
    with_message(lambda: read_grids(path))


@given(text=st.text(alphabet=string.printable + "é\ud800\0\x9f", max_size=60))
def test_any_text(text):
    with_message(lambda: parse_text(text, where="text"))


@given(
    number=st.integers(0, 10**6),
    edits=st.lists(st.tuples(st.integers(0, 2000), st.binary(max_size=4)), max_size=5),
)
def test_any_edit_of_a_score_file(tmp_path_factory, number, edits):
    content = score_bytes(rng_for(number, "edited"))
    for place, piece in edits:
        content = content[:place] + piece + content[place + len(piece) :]
    path = tmp_path_factory.getbasetemp() / "any.npz"
    path.write_bytes(content)
    with_message(lambda: ScoreFile.read(path))


def with_message(read) -> None:
    """Runs it; whatever is refused is refused with a message that can be printed."""
    try:
        found = read()
    except UserError as error:
        str(error).encode()
        return
    if isinstance(found, ScoreFile):
        assert not np.isnan(found.scores).any()
