import numpy as np
import pytest

from dpbench.errors import UserError
from dpbench.jobs.keys import key_of
from dpbench.jobs.store import Failure, Store


@pytest.fixture
def store(tmp_path) -> Store:
    made = Store(tmp_path / "store")
    made.create()
    return made


def test_publish_and_read_back(store):
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([True, False])}
    store.publish("ab12", {"epsilon": float("inf")}, arrays)
    assert store.has("ab12")
    assert store.finished() == {"ab12"}
    record = store.record("ab12")
    assert record.pop("digest") == store.digest("ab12")
    assert record == {"epsilon": float("inf")}
    for name, value in store.arrays("ab12").items():
        assert np.array_equal(value, arrays[name])
        assert np.array_equal(store.array("ab12", name), arrays[name])


def test_a_second_publication_changes_nothing(store):
    store.publish("ab12", {"first": True})
    store.publish("ab12", {"first": False})
    assert store.record("ab12")["first"] is True
    assert not list((store.root / "tmp").iterdir())


def test_a_folder_without_a_record_is_not_finished(store):
    (store.root / "objects" / "ab" / "ab12").mkdir(parents=True)
    assert not store.has("ab12")
    assert store.finished() == set()


def test_failures_are_records_and_can_be_forgotten(store):
    failure = Failure("failed", "diverged: 'w' is not finite", "Traceback ...")
    store.fail("ab12", failure)
    assert store.failure("ab12") == failure
    assert store.failures() == {"ab12"}
    store.forget_failure("ab12")
    assert store.failure("ab12") is None


def test_an_unwritable_folder_is_the_users_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        Store(tmp_path / "file" / "store").create()


def test_equal_values_have_equal_keys_and_types_matter():
    assert key_of({"a": 1, "b": [2.5, None]}) == key_of({"b": [2.5, None], "a": 1})
    assert key_of({"a": 1}) != key_of({"a": "1"})
    assert key_of(float("inf")) != key_of(None)


def test_what_is_known_is_found_again_and_what_is_new_is_found(store):
    store.publish("ab12", {})
    store.publish("cd34", {})
    (store.root / "objects" / "cd" / "cd35").mkdir()
    assert store.finished(known={"ab12"}) == {"ab12", "cd34"}


def test_a_digest_covers_what_was_found_and_not_how_long_it_took(store):
    arrays = {"a": np.arange(3)}
    facts = {"value": 1.5, "label": "x", "measured": {"seconds": 1.0}}
    store.publish("ab12", facts, arrays)
    store.publish("ab13", facts | {"label": "y", "measured": {"seconds": 2.0}}, arrays)
    store.publish("ab14", facts | {"value": 1.25}, arrays)
    store.publish("ab15", facts, {"a": np.arange(3) + 1})
    digests = [store.digest(key) for key in ("ab12", "ab13", "ab14", "ab15")]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_damage_is_noticed(store):
    store.publish("ab12", {}, {"a": np.arange(3)})
    path = store.folder("ab12") / "arrays.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match="damaged"):
        store.digest("ab12")
    (store.folder("ab12") / "record.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        store.digest("ab12")


def test_a_removed_result_is_open_again_and_a_copy_is_the_same(store, tmp_path):
    store.publish("ab12", {"value": 2}, {"a": np.arange(3)})
    other = Store(tmp_path / "other")
    other.create()
    other.adopt("ab12", store)
    assert other.digest("ab12") == store.digest("ab12")
    store.remove("ab12")
    assert not store.has("ab12")
    assert not list((store.root / "tmp").iterdir())
