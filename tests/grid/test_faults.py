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
from tiny import context_of

from dpbench import cli
from dpbench.errors import UserError
from dpbench.grid import claims, runner, store, worker
from dpbench.grid.board import Board
from dpbench.grid.cell import Plan
from dpbench.grid.claims import Claims
from dpbench.grid.executors import attend
from dpbench.grid.garbage import find_garbage
from dpbench.grid.job import Context, Job
from dpbench.grid.job_log import JobLog
from dpbench.training.partial import Partial

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "somewhere")


def prepared(folder: Path) -> tuple[Context, Plan, Board[Job]]:
    context = context_of(folder, defenses=["none"], attacks=["gap", "malt"])
    plan = runner.prepare(context, folder / "out")
    return context, plan, Board(plan.jobs, context.store)


def kinds(board: Board[Job], keys: set[str]) -> list[str]:
    return [job.kind for job in board.jobs.values() if job.key in keys]


def assert_as_open_as_before(context: Context, board: Board[Job]) -> None:
    board.refresh()
    assert not board.failed
    for folder in ("claims", "deaths", "tmp", "failures"):
        assert not list((context.store.root / folder).iterdir()), folder


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE])
def test_a_job_that_meets_a_full_disk_stays_open(tmp_path, monkeypatch, number):
    context, _, board = prepared(tmp_path)
    job = board.open[0]

    def run(self: Job, context: Context) -> None:
        raise OSError(number, os.strerror(number), "somewhere")

    with monkeypatch.context() as patch:
        patch.setattr(type(job), "run", run)
        with pytest.raises(OSError, match="somewhere"):
            worker.work(context, board)
    assert_as_open_as_before(context, board)
    worker.work(context, board)
    assert not board.failed


def test_another_error_of_the_system_is_the_jobs(tmp_path, monkeypatch):
    context, _, board = prepared(tmp_path)

    def run(self: Job, context: Context) -> None:
        Path(tmp_path / "nowhere").read_text()

    monkeypatch.setattr(type(board.open[0]), "run", run)
    worker.work(context, board)
    assert kinds(board, board.failed) == ["train"]


def full_for_arrays(*_: object) -> None:
    words = "Error while serializing: I/O error: No space left on device (os error 28)"
    raise SafetensorError(words)


def full_for_text(*_: object) -> None:
    raise FULL


@pytest.mark.parametrize(
    ("name", "full"), [("save_arrays", full_for_arrays), ("write_synced", full_for_text)]
)
def test_a_result_that_does_not_fit_leaves_nothing(tmp_path, monkeypatch, name, full):
    context, _, board = prepared(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(store, name, full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            worker.work(context, board)
    assert caught.value.errno == errno.ENOSPC
    assert not board.finished
    assert_as_open_as_before(context, board)
    worker.work(context, board)
    assert len(board.finished) == len(board.jobs)


def test_a_claim_that_does_not_fit_leaves_nothing(tmp_path, monkeypatch):
    context, _, board = prepared(tmp_path)
    monkeypatch.setattr(claims.json, "dump", full_for_text)
    with pytest.raises(OSError, match="No space left"):
        worker.work(context, board)
    assert_as_open_as_before(context, board)


def test_a_worker_that_cannot_go_on_stops_the_run_at_once(tmp_path, monkeypatch):
    fault = "print('error: /disk: No space left on device', file=sys.stderr); sys.exit(75)"
    pool, made = pool_of(tmp_path, monkeypatch, fault)
    board: Board[Any] = Board(plan(), made)
    with pytest.raises(UserError) as caught:
        attend(pool, board, lambda board: None)
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
    context, plan, board = prepared(tmp_path)
    worker.work(context, board)
    trained = next(job for job in board.jobs.values() if job.kind == "train")
    for job in board.jobs.values():
        if job.kind != "train":
            context.store.remove(job.key)
    path = context.store.folder(trained.key) / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    context, _, board = prepared(tmp_path)  # another process, which has nothing in memory
    worker.work(context, board)
    assert "observe" in kinds(board, board.failed)
    failure = context.store.failure(min(board.failed))
    assert failure is not None
    assert f"{path.parent}: cannot be read" in failure.reason
    assert "remove this folder and run again with --retry-failed" in failure.reason
    context.store.remove(trained.key)
    runner.retry_failed(context.store, plan)
    board = Board(plan.jobs, context.store)
    worker.work(context, board)
    assert len(board.finished) == len(board.jobs)


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
    context, _, board = prepared(tmp_path / "stopped")
    with monkeypatch.context() as patch:
        Interrupted(patch, after=5)
        with pytest.raises(KeyboardInterrupt):
            worker.work(context, board)
    (job,) = (job for job in board.jobs.values() if job.kind == "train")
    assert_as_open_as_before(context, board)
    assert list(context.store.partial(job.key).iterdir())
    worker.work(context, board)
    assert len(board.finished) == len(board.jobs)
    assert not list((context.store.root / "partial").iterdir())
    started = [e for e in JobLog(context.store.root / "logs").entries(job.key) if "resumed" in e]
    assert [entry["resumed"] for entry in started] == [False, True]
    other, _, board = prepared(tmp_path / "whole")
    worker.work(other, board)
    assert [other.store.digest(key) for key in board.jobs] == [
        context.store.digest(key) for key in board.jobs
    ]


def test_being_stopped_while_publishing_loses_the_publication_alone(tmp_path, monkeypatch):
    context, _, board = prepared(tmp_path)

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Partial, "due", property(lambda _: True))
        patch.setattr(store, "write_synced", stopped)
        with pytest.raises(KeyboardInterrupt):
            worker.work(context, board)
    assert_as_open_as_before(context, board)
    (kept,) = (context.store.root / "partial").iterdir()
    assert kept.name in board.jobs
    worker.work(context, board)
    assert len(board.finished) == len(board.jobs)


def test_what_a_failed_training_had_is_forgotten(tmp_path, monkeypatch):
    context, _, board = prepared(tmp_path)
    monkeypatch.setattr(Partial, "due", property(lambda _: True))
    monkeypatch.setattr(
        "dpbench.grid.train_job.Output", lambda *_: (_ for _ in ()).throw(RuntimeError("broken"))
    )
    worker.work(context, board)
    assert kinds(board, board.failed) == ["train"]
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
