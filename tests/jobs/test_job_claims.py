import json
import os
import subprocess
import sys
import time

import pytest

from dpbench.jobs.claims import Claim, Claims

HOLD = (
    "import sys, time; from pathlib import Path; from dpbench.jobs.claims import Claims\n"
    "with Claims(Path(sys.argv[1])).holding('k'): print('held', flush=True); time.sleep(60)"
)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "claims"
    made.mkdir()
    (tmp_path / "tmp").mkdir()
    return made


def elsewhere(**changes) -> str:
    """A claim of another machine."""
    claim = Claim("k", "elsewhere", "another boot", 1, "1", 0.0, "token")
    return json.dumps(claim._replace(**changes)._asdict())


def test_only_one_holds_a_claim(folder):
    claims = Claims(folder)
    with claims.holding("k") as first, claims.holding("k") as second:
        assert first
        assert not second
        assert list(claims.active()) == ["k"]
        (claim,) = claims.owned_by(os.getpid())
        assert claim.key == "k"
        assert abs(claim.since - time.time()) < 60
    assert claims.active() == {}


def test_a_dead_process_loses_its_claim_at_once(folder):
    vanished: list[Claim] = []
    claims = Claims(folder, vanished=vanished.append)
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with claims.holding("k") as mine:
            assert not mine
        process.kill()
        process.wait()
        assert [path.name for path in claims.dead()] == ["k"]
        with claims.holding("k") as mine:
            assert mine
    assert [claim.pid for claim in vanished] == [process.pid]


def test_a_silent_machine_loses_its_claim_after_a_while(folder):
    claims = Claims(folder)
    path = folder / "k"
    path.write_text(elsewhere())
    with claims.holding("k") as mine:
        assert not mine
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    with claims.holding("k") as mine:
        assert mine


def test_a_process_of_another_machine_with_our_host_name_and_pid_is_not_ours(folder):
    claims = Claims(folder)
    with claims.holding("mine"):
        (own,) = claims.owned_by(os.getpid())
    (folder / "k").write_text(elsewhere(host=own.host, pid=own.pid, born="another"))
    assert claims.owned_by(os.getpid()) == []
    assert list(claims.active()) == ["k"]


def test_a_claim_that_was_stolen_is_not_given_up_twice(folder):
    claims = Claims(folder)
    with claims.holding("k"):
        (folder / "k").write_text(elsewhere())
    assert list(claims.active()) == ["k"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": 1}', elsewhere(pid="x")])
def test_a_claim_that_is_being_written_is_respected_and_then_forgotten(folder, text):
    claims = Claims(folder)
    path = folder / "k"
    path.write_text(text)
    assert claims.active() == {"k": None}
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))
    with claims.holding("k") as mine:
        assert mine


def test_the_clock_leaves_nothing_behind(folder):
    assert abs(Claims(folder).now() - time.time()) < 60
    assert not list(folder.with_name("tmp").iterdir())
