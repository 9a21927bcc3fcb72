import pytest

from dpbench.jobs.claims import Claim
from dpbench.jobs.job_log import JobLog
from dpbench.jobs.quarantine import Quarantine
from dpbench.jobs.store import Store


@pytest.fixture
def store(tmp_path) -> Store:
    made = Store(tmp_path / "store")
    made.create()
    return made


def claim(token: str) -> Claim:
    return Claim("ab12", "here", "boot", 7, "1", 0.0, token)


def test_a_job_that_kills_two_watched_workers_fails_with_the_reason(store):
    Quarantine(store).died(claim("one"), "signal SIGKILL")
    assert store.failure("ab12") is None
    Quarantine(store).died(claim("two"), "signal SIGKILL")
    failure = store.failure("ab12")
    assert failure == ("failed", "the worker died twice (signal SIGKILL)", "")
    events = [entry["event"] for entry in JobLog(store.root / "logs").entries("ab12")]
    assert events == ["died", "died", "failed"]


def test_one_death_counts_once_however_many_notice(store):
    for _ in range(5):
        Quarantine(store).died(claim("one"), "signal SIGKILL")
        Quarantine(store).vanished(claim("one"))
    assert store.failure("ab12") is None


def test_machines_that_are_switched_off_are_suspected_later(store):
    quarantine = Quarantine(store)
    for token in ("one", "two", "three"):
        quarantine.vanished(claim(token))
    assert store.failure("ab12") is None
    quarantine.vanished(claim("four"))
    failure = store.failure("ab12")
    assert failure is not None
    assert failure.reason == "the worker died 4 times (process 7 on here vanished)"


def test_a_clean_slate_and_a_result_end_all_suspicion(store):
    quarantine = Quarantine(store)
    quarantine.died(claim("one"), "signal SIGKILL")
    quarantine.forget("ab12")
    quarantine.died(claim("two"), "signal SIGKILL")
    assert store.failure("ab12") is None
    store.publish("ab12", {})
    quarantine.died(claim("three"), "signal SIGKILL")
    assert store.failure("ab12") is None


def test_half_a_line_of_a_log_is_left_out(store):
    log = JobLog(store.root / "logs")
    log.add("ab12", "started", label="a\nb")
    with log.path("ab12").open("a") as file:
        file.write('{"event": "fin')
    (entry,) = log.entries("ab12")
    assert entry["label"] == "a\nb"
    assert log.entries("cd34") == []
