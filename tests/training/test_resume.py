"""A training that is killed and taken up again ends with the weights of one that was not.

A run is cut short by an exception at a step; the training is then begun anew from what it saved.
"""

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from small_task import CLASSES, IMAGE, RECIPE, SMALL_CNN, STEPS, N, make_task
from trainings import NOISY, RUNS, training

from dpbench.defenses import Distillation
from dpbench.training import loop, partial
from dpbench.training.fit import fit
from dpbench.training.partial import Partial
from dpbench.training.task import Snapshots, Task


class Killed(Exception):
    """Stands for SIGKILL."""


def task_of(engine: str, name: str, folder: Path) -> Task:
    return training(engine, name, partial=Partial(folder))


def killed(task: Task, monkeypatch: pytest.MonkeyPatch, *, after: int, train=fit) -> None:
    """Saves after every step, and dies after a number of them."""
    left = [after]

    def due(_: Partial) -> bool:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return True

    with monkeypatch.context() as patch:
        patch.setattr(Partial, "due", property(due))
        with pytest.raises(Killed):
            train(task)


def steps_taken(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Returns a list to which the steps from now on are added."""
    taken: list[int] = []
    for engine in ("dense._Chunk", "autograd._Training"):
        module, name = engine.split(".")
        stack = getattr(__import__(f"dpbench.training.{module}", fromlist=[name]), name)

        def take(self, step, batch, rate, original=stack.take):
            taken.append(step)
            original(self, step, batch, rate)

        monkeypatch.setattr(stack, "take", take)
    return taken


def assert_same(ours: Snapshots, theirs: Snapshots) -> None:
    assert ours.keys() == theirs.keys()
    for step, weights in theirs.items():
        assert weights.keys() == ours[step].keys()
        for name, value in weights.items():
            assert torch.equal(ours[step][name], value), f"{name} after step {step}"


@pytest.mark.parametrize("engine", ["dense", "autograd"])
@pytest.mark.parametrize("name", RUNS)
def test_a_resumed_training_is_an_uninterrupted_one(engine, name, tmp_path, monkeypatch):
    whole = fit(dataclasses.replace(task_of(engine, name, tmp_path), partial=None))
    killed(task_of(engine, name, tmp_path), monkeypatch, after=3)
    taken = steps_taken(monkeypatch)
    assert_same(fit(task_of(engine, name, tmp_path)), whole)
    assert taken[0] == 4


def test_a_convolution_is_resumed_too(tmp_path, monkeypatch):
    for mechanism in (None, NOISY):
        folder = tmp_path / str(mechanism is None)
        task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism, partial=Partial(folder))
        whole = fit(dataclasses.replace(task, partial=None))
        killed(task, monkeypatch, after=6)
        assert_same(fit(dataclasses.replace(task, partial=Partial(folder))), whole)


def test_the_second_model_and_the_second_training_are_resumed(tmp_path, monkeypatch):
    """Distillation trains twice, and the autograd engine one model after another."""
    task, train = task_of("autograd", "momentum", tmp_path), Distillation().train
    whole = train(dataclasses.replace(task, partial=None))
    # Two models of ten steps each, whose ends count too, and the second one of the student.
    killed(task, monkeypatch, after=35, train=train)
    taken = steps_taken(monkeypatch)
    assert_same(train(task_of("autograd", "momentum", tmp_path)), whole)
    assert 0 < len(taken) <= STEPS


FRESH = {"dense": "adaptive", "autograd": "adam"}


def test_a_fresh_process_resumes(tmp_path, monkeypatch):
    for engine, name in FRESH.items():
        whole = fit(dataclasses.replace(task_of(engine, name, tmp_path), partial=None))
        killed(task_of(engine, name, tmp_path / engine), monkeypatch, after=5)
        save_file(whole[STEPS], tmp_path / f"{engine}.whole")
    code = (
        "import sys; from safetensors.torch import load_file; from test_resume import *\n"
        "for engine, name in FRESH.items():\n"
        "    with pytest.MonkeyPatch().context() as patch:\n"
        "        taken = steps_taken(patch)\n"
        "        ours = fit(task_of(engine, name, Path(sys.argv[1]) / engine))\n"
        "    assert taken[0] == 6\n"
        "    assert_same(ours, {STEPS: load_file(Path(sys.argv[1]) / f'{engine}.whole')})\n"
    )
    line = [sys.executable, "-c", code, str(tmp_path)]
    subprocess.run(line, cwd=Path(__file__).parent, check=True)


def damage(path: Path, how: str) -> None:
    data = path.read_bytes()
    if how == "half":
        path.write_bytes(data[: len(data) // 2])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "flipped":
        path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    else:
        path.write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")


@pytest.mark.parametrize("how", ["half", "empty", "flipped", "no facts"])
def test_a_damaged_file_is_as_good_as_none(how, tmp_path, monkeypatch):
    whole = fit(dataclasses.replace(task_of("dense", "momentum", tmp_path), partial=None))
    killed(task_of("dense", "momentum", tmp_path), monkeypatch, after=4)
    (path,) = tmp_path.iterdir()
    damage(path, how)
    taken = steps_taken(monkeypatch)
    assert_same(fit(task_of("dense", "momentum", tmp_path)), whole)
    assert taken[0] == 1


@pytest.mark.parametrize(
    "changes",
    [{"seed": 8}, {"models": (1, 0)}, {"members": torch.ones(2, N, dtype=torch.bool)}],
    ids=["seed", "models", "members"],
)
def test_the_file_of_another_training_is_as_good_as_none(changes, tmp_path, monkeypatch):
    killed(task_of("dense", "momentum", tmp_path), monkeypatch, after=4)
    other = dataclasses.replace(task_of("dense", "momentum", tmp_path), **changes)
    taken = steps_taken(monkeypatch)
    assert_same(fit(other), fit(dataclasses.replace(other, partial=None)))
    assert taken[0] == 1
    labels = other.data._replace(targets=(other.data.targets + 1) % CLASSES)
    assert loop._identity(dataclasses.replace(other, data=labels)) != loop._identity(other)


def test_a_full_disk_does_not_stop_a_training(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    task = task_of("dense", "momentum", tmp_path)
    whole = fit(dataclasses.replace(task, partial=None))
    monkeypatch.setattr(partial, "save_file", full)
    monkeypatch.setattr(Partial, "due", property(lambda _: True))
    assert_same(fit(task), whole)
    assert not list(tmp_path.iterdir())


def test_an_objective_that_does_not_tell_what_it_remembers_begins_again(tmp_path, monkeypatch):
    def objective(setting):
        seen = torch.zeros(())

        def losses(step):
            seen.add_(1)
            return step.logits.logsumexp(-1) * seen

        return losses

    monkeypatch.setitem(RUNS, "secretive", (RECIPE, {"objective": objective}))
    whole = fit(dataclasses.replace(task_of("dense", "secretive", tmp_path), partial=None))
    monkeypatch.setattr(Partial, "due", property(lambda _: True))
    assert_same(fit(task_of("dense", "secretive", tmp_path)), whole)
    assert len(list(tmp_path.iterdir())) == 1  # its end is saved, and nothing else can be
    taken = steps_taken(monkeypatch)
    assert_same(fit(task_of("dense", "secretive", tmp_path)), whole)
    assert taken == []


def test_it_is_time_after_a_minute_and_before_two(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    saved = Partial(tmp_path)
    assert not saved.due
    now[0] = 60.0
    assert saved.due
    saved.write()
    now[0] = 119.0
    assert not saved.due
    monkeypatch.setattr(partial, "_write", lambda *_: now.__setitem__(0, now[0] + 30))
    saved.training(lambda: "x")(0).save(1, {})
    now[0] += 109
    assert not saved.due
    now[0] += 1
    assert saved.due
