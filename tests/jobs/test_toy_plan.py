"""Jobs without privacy: keys, parents, order and failures follow from what a job declares."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from dpbench.errors import NoResult, UserError
from dpbench.jobs.executors import Local
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job, Output, ordered, unkeyed
from dpbench.jobs.runner import retry_failed, run_jobs
from dpbench.jobs.store import Store
from dpbench.jobs.worker import Worker
from dpbench.jobs.worker_config import WorkerConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class Draw(Job):
    """Draws numbers."""

    kind: ClassVar[str] = "draw"

    count: int
    breaks: bool = False
    label: str = unkeyed(default="draw")
    seconds: float = unkeyed(default=1.0)

    def run(self, inputs: Inputs) -> Output:
        if self.breaks:
            raise NoResult("no numbers today")
        return Output({"count": self.count}, {"numbers": np.arange(float(self.count))})


@dataclass(frozen=True)
class Weighted:
    """A value that holds a job."""

    draw: Draw
    weight: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Total(Job):
    """Adds up draws, but for those that failed."""

    kind: ClassVar[str] = "total"
    rank: ClassVar[int] = 1
    tolerant: ClassVar[bool] = True

    draws: tuple[Weighted, ...]
    peeks: Draw | None = unkeyed(default=None)
    label: str = unkeyed(default="total")
    seconds: float = unkeyed(default=0.1)

    def run(self, inputs: Inputs) -> Output:
        if self.peeks is not None:
            inputs.record(self.peeks)
        parts = [one for one in self.draws if inputs.has(one.draw)]
        total = sum(one.weight * inputs.array(one.draw, "numbers").sum() for one in parts)
        return Output({"total": float(total)})


def total_of(*draws: Draw, **more) -> Total:
    return Total(draws=tuple(Weighted(draw, 2.0) for draw in draws), **more)


def run_toy(folder, *jobs: Job) -> tuple[Store, set[str]]:
    store = Store(folder / "store")
    store.create()
    plan = ordered(jobs)
    config = WorkerConfig(program=(), folder=folder, workers=0)
    states = run_jobs(
        plan, store, config, worker=Worker(store), executor=Local(), report=lambda states: None
    )
    return store, states.failed


def test_a_plan_runs_in_the_order_of_its_declarations(tmp_path):
    small, large = Draw(count=3), Draw(count=5)
    total = total_of(small, large)
    store, failed = run_toy(tmp_path, total, small, large)
    assert not failed
    assert store.record(total.key)["total"] == 2 * 3 + 2 * 10
    assert total.parents == (small.key, large.key)


def test_a_tolerant_job_runs_without_what_failed_and_again_when_it_is_there(tmp_path):
    good, bad = Draw(count=3), Draw(count=5, breaks=True)
    total = total_of(good, bad)
    store, failed = run_toy(tmp_path, total, good, bad)
    assert failed == {bad.key}
    assert store.failure(bad.key).reason == "no numbers today"
    assert store.record(total.key)["total"] == 6
    assert retry_failed(store, ordered([total, good, bad])) == 1
    assert not store.has(total.key)


def test_what_is_not_declared_cannot_be_read(tmp_path):
    seen, hidden = Draw(count=3), Draw(count=4)
    total = total_of(seen, peeks=hidden)
    store, failed = run_toy(tmp_path, hidden, seen, total)
    assert failed == {total.key}
    assert "'total' reads 'draw' without declaring it" in store.failure(total.key).reason


def test_keys_follow_from_everything_but_labels_and_costs():
    one = Draw(count=3)
    assert one.key == Draw(count=3, label="another", seconds=9.0).key
    others = [Draw(count=4), Draw(count=3, breaks=True), total_of(one), total_of(Draw(count=4))]
    assert len({one.key, *(other.key for other in others)}) == 5
    heavier = Total(draws=(Weighted(one, 3.0),))
    assert heavier.key != total_of(one).key


def test_a_higher_version_is_another_key(monkeypatch):
    before = Draw(count=3).key
    monkeypatch.setattr(Draw, "version", 2)
    assert Draw(count=3).key != before


def test_what_cannot_enter_a_key_is_refused():
    @dataclass(frozen=True, kw_only=True, eq=False)
    class Opaque(Draw):
        what: object = field(default_factory=object)

    with pytest.raises(TypeError, match="object cannot be a job's input"):
        _ = Opaque(count=1).key


@pytest.mark.parametrize("found", [None, "1", "99"])
def test_results_of_another_format_are_refused(tmp_path, found):
    store, _ = run_toy(tmp_path, Draw(count=3))
    path = store.root / "format"
    if found is None:
        path.unlink()
    else:
        path.write_text(f"{found}\n")
    with pytest.raises(UserError, match="this version writes format 2"):
        store.create()
    assert len(store.finished()) == 1
