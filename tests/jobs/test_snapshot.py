import json
import os
import time

from rich.console import Console
from stores import FIRST, SECOND, TRAIN, plan, store_of

from dpbench.jobs.claims import Claims
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.snapshot import read_progress, running, snapshot, write_progress
from dpbench.progress import RunProgress


def test_the_progress_file_says_what_runs_where_and_what_is_left(tmp_path):
    store = store_of(tmp_path, [TRAIN], failed=[SECOND])
    claims = Claims(store.root / "claims")
    with claims.holding(FIRST), claims.holding("ff"), claims.holding(TRAIN):
        states = JobStates(plan(), store)
        write_progress(snapshot(states, store, seconds_left=12.5), tmp_path)
    document = json.loads((tmp_path / "progress.json").read_text())
    assert abs(document.pop("time") - time.time()) < 60
    (one,) = document.pop("running")
    assert (one["label"], one["key"], one["pid"]) == ("evaluate b1", FIRST, os.getpid())
    assert abs(one["since"] - time.time()) < 60
    assert document == {
        "jobs": 5,
        "finished": 1,
        "waiting": 2,
        "failed": 1,
        "blocked": 0,
        "seconds_left": 12.5,
    }
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["progress.json"]


def test_the_longest_running_job_comes_first(tmp_path):
    store = store_of(tmp_path, [])
    claims = Claims(store.root / "claims")
    with claims.holding(SECOND), claims.holding(FIRST):
        (store.root / "claims" / TRAIN).write_text("")  # being written
        found = [one.key for one in running(JobStates(plan(), store), store)]
    assert found == [SECOND, FIRST, TRAIN]


def test_a_program_reads_on_stderr_what_the_file_holds(tmp_path, capsys):
    store = store_of(tmp_path, [TRAIN], failed=[SECOND])
    states, console = JobStates(plan(), store), Console(stderr=True)
    with RunProgress(console, tmp_path, store, form="json") as progress:
        progress(states)
        progress(states)  # within the same second
        states.finished |= states.jobs.keys()
        progress(states)
    captured = capsys.readouterr()
    first, last = (json.loads(line) for line in captured.err.splitlines())
    assert (first["jobs"], first["finished"], first["failed"]) == (5, 1, 1)
    assert last["finished"] == 5
    assert last == json.loads((tmp_path / "progress.json").read_text())
    assert captured.out == ""


def test_no_progress_is_no_error(tmp_path):
    assert read_progress(tmp_path) == {}
    (tmp_path / "progress.json").write_text("[")
    assert read_progress(tmp_path) == {}
