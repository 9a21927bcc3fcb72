import pytest
from stores import BEST, FIRST, SECOND, THIRD, TRAIN, plan, store_of

from dpbench.jobs.job_states import JobStates, blocked_by
from dpbench.jobs.listing import read_listing, write_listing
from dpbench.jobs.store import Failure


def keys(states) -> list[str]:
    return [job.key for job in states.open]


def test_a_job_is_ready_when_its_parents_have_results(tmp_path):
    jobs = plan()
    states = JobStates(jobs, store_of(tmp_path, [TRAIN, FIRST]))
    assert keys(states) == [SECOND, THIRD, BEST]
    assert states.is_ready(jobs[SECOND])
    assert not states.is_ready(jobs[BEST])


def test_a_tolerant_job_is_ready_without_what_failed(tmp_path):
    jobs = plan()
    states = JobStates(jobs, store_of(tmp_path, [TRAIN, FIRST, SECOND], failed=[THIRD]))
    assert keys(states) == [BEST]
    assert states.is_ready(jobs[BEST])


def test_a_tolerant_job_needs_one_result(tmp_path):
    """What failed since the last refresh blocks nothing yet, but may not be run upon."""
    states = JobStates(plan(), store_of(tmp_path, [TRAIN], failed=[FIRST, SECOND]))
    assert not states.is_ready(states.jobs[BEST])
    store_of(tmp_path, [], failed=[THIRD])
    assert states.settle(THIRD)
    assert not states.is_ready(states.jobs[BEST])


def test_failures_spread(tmp_path):
    assert blocked_by({TRAIN}, plan().values()) == {FIRST, SECOND, THIRD, BEST}
    assert blocked_by({FIRST, SECOND}, plan().values()) == set()
    assert blocked_by({FIRST, SECOND, THIRD}, plan().values()) == {BEST}
    states = JobStates(plan(), store_of(tmp_path, [], failed=[TRAIN]))
    assert keys(states) == []
    assert len(states.blocked) == 4


def test_what_others_do_is_seen_job_by_job_and_as_a_whole(tmp_path):
    store = store_of(tmp_path, [])
    states = JobStates(plan(), store)
    assert not states.settle(TRAIN)
    store.publish(TRAIN, {})
    assert states.settle(TRAIN)
    store.fail(FIRST, Failure("failed", "broke"))
    assert states.settle(FIRST)
    states.refresh()
    assert (states.finished, states.failed) == ({TRAIN}, {FIRST})
    store.publish(FIRST, {})  # a result is worth more than a failure
    states.refresh()
    assert (states.finished, states.failed) == ({TRAIN, FIRST}, set())


def test_the_listing_holds_all_that_the_board_must_know(tmp_path):
    write_listing(plan(), tmp_path)
    assert read_listing(tmp_path) == plan()
    with pytest.raises(FileNotFoundError):
        read_listing(tmp_path / "nowhere")
