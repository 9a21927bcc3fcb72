import numpy as np
import pytest
from stores import BEST, FIRST, SECOND, THIRD, TRAIN, plan, store_of

from dpbench.errors import UserError
from dpbench.jobs.merge import merge, open_store
from dpbench.jobs.quarantine import Quarantine

ALL = [TRAIN, FIRST, SECOND, THIRD, BEST]


def test_results_come_in_from_several_stores(tmp_path):
    here = store_of(tmp_path / "here", [TRAIN])
    others = [
        store_of(tmp_path / "one", [TRAIN, FIRST, SECOND]),
        store_of(tmp_path / "two", [TRAIN, FIRST, THIRD, "ff"]),
    ]
    merged = merge(plan(), here, others)
    assert here.finished() == {TRAIN, FIRST, SECOND, THIRD}
    assert here.digest(THIRD) == others[1].digest(THIRD)
    assert merged == (3, 1, 1, 0, 0)
    assert merge(plan(), here, others) == (0, 4, 1, 0, 0)
    assert not list((here.root / "tmp").iterdir())


def test_two_results_of_one_job_are_refused_and_nothing_changes(tmp_path):
    here = store_of(tmp_path / "here", [TRAIN])
    other = store_of(tmp_path / "one", [TRAIN, FIRST], **{TRAIN: 2.0})
    with pytest.raises(UserError) as caught:
        merge(plan(), here, [other])
    for part in (str(here.folder(TRAIN)), str(other.folder(TRAIN)), "torch 2.14"):
        assert part in str(caught.value)
    assert here.finished() == {TRAIN}


def test_two_other_stores_must_agree_too(tmp_path):
    here = store_of(tmp_path / "here", [])
    others = [store_of(tmp_path / "one", [FIRST]), store_of(tmp_path / "two", [FIRST], b1=2.0)]
    with pytest.raises(UserError, match="two results of one job"):
        merge(plan(), here, others)
    assert here.finished() == set()


@pytest.mark.parametrize("where", ["here", "one"])
def test_a_damaged_result_is_refused(tmp_path, where):
    stores = {name: store_of(tmp_path / name, [TRAIN]) for name in ("here", "one")}
    path = stores[where].folder(TRAIN) / "arrays.safetensors"
    path.write_bytes(path.read_bytes()[:-8] + np.float64(7).tobytes())
    with pytest.raises(UserError, match="damaged") as caught:
        merge(plan(), stores["here"], [stores["one"]])
    assert str(path.parent) in str(caught.value)


def test_a_store_of_another_grid_is_refused(tmp_path):
    here, other = store_of(tmp_path / "here", [TRAIN]), store_of(tmp_path / "one", ["ff"])
    with pytest.raises(UserError, match="no result of this grid"):
        merge(plan(), here, [other])


def test_failures_come_in_and_a_result_is_worth_more(tmp_path):
    here = store_of(tmp_path / "here", [TRAIN], failed=[FIRST])
    other = store_of(tmp_path / "one", [TRAIN, FIRST], failed=[SECOND])
    merged = merge(plan(), here, [other])
    assert here.finished() == {TRAIN, FIRST}
    assert here.failures() == {SECOND}
    assert merged.failures == 1


def test_a_failure_that_another_store_does_not_have_reopens_what_ran_without(tmp_path):
    """The best of two attacks is not the best of three: neither store's is kept unread."""
    here = store_of(tmp_path / "here", [TRAIN, FIRST, SECOND, BEST], failed=[THIRD])
    other = store_of(tmp_path / "one", [TRAIN, THIRD])
    merged = merge(plan(), here, [other])
    assert here.finished() == {TRAIN, FIRST, SECOND, THIRD}
    assert here.failures() == set()
    assert merged.reopened == 1
    complete = store_of(tmp_path / "two", ALL, **{BEST: 2.0})
    assert merge(plan(), here, [complete]).adopted == 1
    assert here.digest(BEST) == complete.digest(BEST)


def test_what_ran_without_the_same_parent_everywhere_agrees(tmp_path):
    finished = [TRAIN, FIRST, SECOND, BEST]
    here = store_of(tmp_path / "here", finished, failed=[THIRD])
    other = store_of(tmp_path / "one", finished, failed=[THIRD])
    assert merge(plan(), here, [other]) == (0, 4, 0, 0, 0)


def test_suspicion_ends_with_a_result(tmp_path):
    from test_quarantine import claim

    here, other = store_of(tmp_path / "here", []), store_of(tmp_path / "one", [TRAIN])
    Quarantine(here).died(claim("one")._replace(key=TRAIN), "signal SIGKILL")
    merge(plan(), here, [other])
    assert not list((here.root / "deaths").iterdir())


def test_a_run_and_a_store_are_both_a_source(tmp_path):
    store = store_of(tmp_path / "run", [TRAIN])
    assert open_store(tmp_path / "run").finished() == {TRAIN}
    assert open_store(store.root).finished() == {TRAIN}
    with pytest.raises(UserError, match="no store here"):
        open_store(tmp_path)
