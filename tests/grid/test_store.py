import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from dpbench.errors import UserError
from dpbench.grid.claims import Claims
from dpbench.grid.keys import key_of
from dpbench.grid.store import Failure, Store


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
    assert store.record("ab12") == {"epsilon": float("inf")}
    for name, value in store.arrays("ab12").items():
        assert np.array_equal(value, arrays[name])
        assert np.array_equal(store.array("ab12", name), arrays[name])


def test_a_second_publication_changes_nothing(store):
    store.publish("ab12", {"first": True})
    store.publish("ab12", {"first": False})
    assert store.record("ab12") == {"first": True}
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


def test_only_one_holds_a_claim(store):
    claims = Claims(store.root / "claims")
    with claims.holding("k") as first, claims.holding("k") as second:
        assert first
        assert not second
        assert claims.active() == {"k"}
        assert claims.owned_by(os.getpid()) == ["k"]
    assert claims.active() == set()


def test_a_dead_process_loses_its_claim_at_once(store):
    claims = Claims(store.root / "claims")
    code = (
        "import sys, time; from pathlib import Path; from dpbench.grid.claims import Claims\n"
        "with Claims(Path(sys.argv[1])).holding('k'): print('held', flush=True); time.sleep(60)"
    )
    folder = str(store.root / "claims")
    with subprocess.Popen([sys.executable, "-c", code, folder], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with claims.holding("k") as mine:
            assert not mine
        process.kill()
        process.wait()
        with claims.holding("k") as mine:
            assert mine


def test_a_silent_machine_loses_its_claim_after_a_while(store):
    claims = Claims(store.root / "claims")
    path = store.root / "claims" / "k"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "born": "1"}))
    with claims.holding("k") as mine:
        assert not mine
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    with claims.holding("k") as mine:
        assert mine
