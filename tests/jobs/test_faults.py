"""What is the machine's fault is no job's failure, and what is half done is kept or gone."""

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError
from stores import FIRST, THIRD, TRAIN, plan, store_of
from test_local import pool_of

from dpbench import cli
from dpbench.errors import UserError
from dpbench.jobs import claims, store
from dpbench.jobs.claims import Claims
from dpbench.jobs.executors import supervise
from dpbench.jobs.garbage import find_garbage
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job
from dpbench.jobs.job_log import JobLog
from dpbench.jobs.job_states import JobStates
from dpbench.jobs.runner import retry_failed
from dpbench.study import execution, worker
from dpbench.study.cell import Plan
from dpbench.study.context import Context
from dpbench.training.partial import Partial
from tests.tiny import context_of, work

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


def prepared(folder: Path) -> tuple[Context, Plan, JobStates[Job]]:
    context = context_of(folder, defenses=["none"], attacks=["gap", "malt"])
    plan = execution.prepare(context, folder / "out")
    return context, plan, JobStates(plan.jobs, context.store)


def kinds(states: JobStates[Job], keys: set[str]) -> list[str]:
    return [job.kind for job in states.jobs.values() if job.key in keys]


def assert_as_open_as_before(context: Context, states: JobStates[Job]) -> None:
    states.refresh()
    assert not states.failed
    for folder in ("claims", "deaths", "tmp", "failures"):
        assert not list((context.store.root / folder).iterdir()), folder


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_a_job_that_meets_a_full_disk_stays_open(tmp_path, monkeypatch, number):
    context, _, states = prepared(tmp_path)
    job = states.open[0]

    def run(self: Job, inputs: Inputs) -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    with monkeypatch.context() as patch:
        patch.setattr(type(job), "run", run)
        with pytest.raises(OSError, match="somewhere"):
            work(context, states)
    assert_as_open_as_before(context, states)
    work(context, states)
    assert not states.failed


def test_another_error_of_the_system_is_the_jobs(tmp_path, monkeypatch):
    context, _, states = prepared(tmp_path)

    def run(self: Job, inputs: Inputs) -> None:
        Path(tmp_path / "nowhere").read_text()

    monkeypatch.setattr(type(states.open[0]), "run", run)
    work(context, states)
    assert kinds(states, states.failed) == ["train"]


def full_for_arrays(*_: object) -> None:
    words = "Error while serializing: I/O error: No space left on device (os error 28)"
    raise SafetensorError(words)


def full_for_text(*_: object) -> None:
    raise FULL


@pytest.mark.parametrize(
    ("name", "full"), [("save_arrays", full_for_arrays), ("write_synced", full_for_text)]
)
def test_a_result_that_does_not_fit_leaves_nothing(tmp_path, monkeypatch, name, full):
    context, _, states = prepared(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(store, name, full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            work(context, states)
    assert caught.value.errno == errno.ENOSPC
    assert not states.finished
    assert_as_open_as_before(context, states)
    work(context, states)
    assert len(states.finished) == len(states.jobs)


def test_a_claim_that_does_not_fit_leaves_nothing(tmp_path, monkeypatch):
    context, _, states = prepared(tmp_path)
    monkeypatch.setattr(claims.json, "dump", full_for_text)
    with pytest.raises(OSError, match="No space left"):
        work(context, states)
    assert_as_open_as_before(context, states)


def test_a_worker_that_cannot_go_on_stops_the_run_at_once(tmp_path, monkeypatch):
    fault = "print('error: /disk: No space left on device', file=sys.stderr); sys.exit(75)"
    pool, made = pool_of(tmp_path, monkeypatch, fault)
    states: JobStates[Any] = JobStates(plan(), made)
    with pytest.raises(UserError) as caught:
        supervise(pool, states, lambda states: None)
    assert "a worker cannot go on: error: /disk: No space left on device" in str(caught.value)
    assert "the same command goes on" in str(caught.value)
    # One worker met it, once; nothing is held against its job.
    assert (tmp_path / "store" / "logs").joinpath(pool._output.name).read_text().count("\n") == 1
    assert not list((tmp_path / "store" / "deaths").iterdir())
    assert made.failures() == set()


def test_the_worker_program_ends_with_its_code_and_one_line(tmp_path, monkeypatch, capsys):
    def full(*_: object, **__: object) -> None:
        raise FULL

    monkeypatch.setattr(worker, "open_run", full)
    monkeypatch.setattr(sys, "argv", ["worker", str(tmp_path)])
    with pytest.raises(SystemExit) as caught:
        worker.main()
    assert caught.value.code == 75
    assert capsys.readouterr().err == "error: somewhere: No space left on device\n"


@pytest.mark.parametrize("size", [0, 5, 200])
def test_a_truncated_parent_is_named_and_can_be_mended(tmp_path, size):
    context, plan, states = prepared(tmp_path)
    work(context, states)
    trained = next(job for job in states.jobs.values() if job.kind == "train")
    for job in states.jobs.values():
        if job.kind != "train":
            context.store.remove(job.key)
    path = context.store.folder(trained.key) / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    context, _, states = prepared(tmp_path)  # another process, which has nothing in memory
    work(context, states)
    assert "observe" in kinds(states, states.failed)
    failure = context.store.failure(min(states.failed))
    assert failure is not None
    assert f"{path.parent}: cannot be read" in failure.reason
    assert "remove this folder and run again with --retry-failed" in failure.reason
    context.store.remove(trained.key)
    retry_failed(context.store, plan.jobs)
    states = JobStates(plan.jobs, context.store)
    work(context, states)
    assert len(states.finished) == len(states.jobs)


def test_a_truncated_record_is_named(tmp_path):
    made = store_of(tmp_path, [TRAIN])
    path = made.folder(TRAIN) / "record.json"
    path.write_text(path.read_text()[:40])
    with pytest.raises(UserError, match=f"{made.folder(TRAIN)}: cannot be read"):
        made.record(TRAIN)


class Interrupted:
    """A training that saves at every step, and is told to stop after some."""

    def __init__(self, patch: pytest.MonkeyPatch, *, after: int) -> None:
        self.left = after
        patch.setattr(Partial, "due", property(self.due))

    def due(self, _: Partial) -> bool:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt  # what SIGTERM and Ctrl-C raise
        return True


def test_a_stopped_training_keeps_what_it_has_and_gives_its_claim_back(tmp_path, monkeypatch):
    context, _, states = prepared(tmp_path / "stopped")
    with monkeypatch.context() as patch:
        Interrupted(patch, after=5)
        with pytest.raises(KeyboardInterrupt):
            work(context, states)
    (job,) = (job for job in states.jobs.values() if job.kind == "train")
    assert_as_open_as_before(context, states)
    assert list(context.store.partial(job.key).iterdir())
    work(context, states)
    assert len(states.finished) == len(states.jobs)
    assert not list((context.store.root / "partial").iterdir())
    started = [e for e in JobLog(context.store.root / "logs").entries(job.key) if "resumed" in e]
    assert [entry["resumed"] for entry in started] == [False, True]
    other, _, states = prepared(tmp_path / "whole")
    work(other, states)
    assert [other.store.digest(key) for key in states.jobs] == [
        context.store.digest(key) for key in states.jobs
    ]


def test_being_stopped_while_publishing_loses_the_publication_alone(tmp_path, monkeypatch):
    context, _, states = prepared(tmp_path)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Partial, "due", property(lambda _: True))
        patch.setattr(store, "write_synced", stopped)
        with pytest.raises(KeyboardInterrupt):
            work(context, states)
    assert_as_open_as_before(context, states)
    (kept,) = (context.store.root / "partial").iterdir()
    assert kept.name in states.jobs
    work(context, states)
    assert len(states.finished) == len(states.jobs)


def test_what_a_failed_training_had_is_forgotten(tmp_path, monkeypatch):
    context, _, states = prepared(tmp_path)
    monkeypatch.setattr(Partial, "due", property(lambda _: True))
    monkeypatch.setattr(
        "dpbench.game.train.Output", lambda *_: (_ for _ in ()).throw(RuntimeError("broken"))
    )
    work(context, states)
    assert kinds(states, states.failed) == ["train"]
    assert not list((context.store.root / "partial").iterdir())


def test_garbage_among_unfinished_trainings(tmp_path):
    made = store_of(tmp_path, [TRAIN])
    for key in (TRAIN, THIRD, "f0"):
        made.partial(key).mkdir()
        (made.partial(key) / "001-00000.safetensors").write_bytes(b"x" * 10)
    found = find_garbage(tmp_path, set(plan()))
    assert [(one.path.name, one.size) for one in found] == [(TRAIN, 10), ("f0", 10)]


@pytest.mark.parametrize("skew", [-7200.0, 7200.0])
def test_a_claim_is_judged_by_the_clock_of_the_file_server(tmp_path, monkeypatch, skew):
    """This machine's clock is hours off; so may be the file server's, and both see its stamps."""
    made = store_of(tmp_path, [])
    here = Claims(made.root / "claims")
    path = made.root / "claims" / FIRST
    fields = (FIRST, "elsewhere", "another boot", 1, "1", 0.0, "token")
    path.write_text(json.dumps(claims.Claim(*fields)._asdict()))
    server = here.now()
    clock = claims.time.time
    monkeypatch.setattr(claims.time, "time", lambda: clock() + skew)
    assert abs(here.now() - server) < 60
    with here.holding(FIRST) as mine:
        assert not mine
    # The server's clock: its stamps, on the beat and on what is written now, are hours off.
    os.utime(path, (server + skew, server + skew))
    for silent, taken in ((59.0, False), (61.0, True)):
        monkeypatch.setattr(Claims, "now", lambda _, at=silent: server + skew + at)
        with here.holding(FIRST) as mine:
            assert mine == taken


def test_the_command_line_has_a_message_for_a_full_disk(tmp_path, monkeypatch, capsys):
    def full(*_: object, **__: object) -> None:
        raise FULL

    monkeypatch.setattr(cli, "draw", full)
    monkeypatch.setattr(sys, "argv", ["dpbench", "report", str(tmp_path)])
    monkeypatch.setattr(cli, "stop_when_told", lambda: None)
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert "error: somewhere: No space left on device" in capsys.readouterr().err
