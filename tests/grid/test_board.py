import pytest
from stores import BEST, FIRST, SECOND, THIRD, TRAIN, plan, store_of

from dpbench.grid.board import Board, blocked_by
from dpbench.grid.listing import read_listing, write_listing
from dpbench.grid.store import Failure


def keys(board) -> list[str]:
    return [job.key for job in board.open]


def test_a_job_is_ready_when_its_parents_have_results(tmp_path):
    jobs = plan()
    board = Board(jobs, store_of(tmp_path, [TRAIN, FIRST]))
    assert keys(board) == [SECOND, THIRD, BEST]
    assert board.is_ready(jobs[SECOND])
    assert not board.is_ready(jobs[BEST])


def test_a_tolerant_job_is_ready_without_what_failed(tmp_path):
    jobs = plan()
    board = Board(jobs, store_of(tmp_path, [TRAIN, FIRST, SECOND], failed=[THIRD]))
    assert keys(board) == [BEST]
    assert board.is_ready(jobs[BEST])


def test_a_tolerant_job_needs_one_result(tmp_path):
    """What failed since the last refresh blocks nothing yet, but may not be run upon."""
    board = Board(plan(), store_of(tmp_path, [TRAIN], failed=[FIRST, SECOND]))
    assert not board.is_ready(board.jobs[BEST])
    store_of(tmp_path, [], failed=[THIRD])
    assert board.settle(THIRD)
    assert not board.is_ready(board.jobs[BEST])


def test_failures_spread(tmp_path):
    assert blocked_by({TRAIN}, plan().values()) == {FIRST, SECOND, THIRD, BEST}
    assert blocked_by({FIRST, SECOND}, plan().values()) == set()
    assert blocked_by({FIRST, SECOND, THIRD}, plan().values()) == {BEST}
    board = Board(plan(), store_of(tmp_path, [], failed=[TRAIN]))
    assert keys(board) == []
    assert len(board.blocked) == 4


def test_what_others_do_is_seen_job_by_job_and_as_a_whole(tmp_path):
    store = store_of(tmp_path, [])
    board = Board(plan(), store)
    assert not board.settle(TRAIN)
    store.publish(TRAIN, {})
    assert board.settle(TRAIN)
    store.fail(FIRST, Failure("failed", "broke"))
    assert board.settle(FIRST)
    board.refresh()
    assert (board.finished, board.failed) == ({TRAIN}, {FIRST})
    store.publish(FIRST, {})  # a result is worth more than a failure
    board.refresh()
    assert (board.finished, board.failed) == ({TRAIN, FIRST}, set())


def test_the_listing_holds_all_that_the_board_must_know(tmp_path):
    write_listing(plan(), tmp_path)
    assert read_listing(tmp_path) == plan()
    with pytest.raises(FileNotFoundError):
        read_listing(tmp_path / "nowhere")
