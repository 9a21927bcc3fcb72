"""Unfinished trainings of a job on disk, so that whoever takes the job up goes on from there.

A file for each stack of models that is trained side by side, in the order in which the job trains
them: safetensors, with the step and the identity of the training in its header. It is replaced by
a rename, and one that is damaged or belongs to another training is as good as none.
"""

import functools
import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from dpbench.training.resumable import State

# Written so often that less than two minutes are lost; less often where writing takes long, so
# that it costs half a percent of the time.
_LEAST_SECONDS, _MOST_SECONDS, _SHARE = 60.0, 110.0, 1 / 200
_FORMAT = 1
"""To be raised when engines save something else."""

Identity = Callable[[], str]


class Saved(NamedTuple):
    """Where a training is.

    Attributes:
        step: The last step taken.
        state: What goes with it.
    """

    step: int
    state: State


class Partial:
    """The unfinished trainings of one job.

    Args:
        folder: Where they are; it is made when there is something to keep.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._due = time.monotonic() + _LEAST_SECONDS
        self._trainings = 0
        self._waiting: dict[str, tuple[Saved, Identity]] = {}

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() >= self._due

    def training(self, identity: Identity) -> Callable[[int], "Saver"]:
        """Returns what makes the saver of each stack of the job's next training.

        Args:
            identity: Tells the training from any other; not called before something is saved or
                found.
        """
        self._trainings += 1
        prefix, identity = f"{self._trainings:03}", functools.cache(identity)
        return lambda first: Saver(self, f"{prefix}-{first:05}", identity)

    def read(self, name: str, identity: Identity) -> Saved | None:
        """Returns what is there of a stack, or None."""
        path = self._path(name)
        if not path.exists():
            return None
        try:
            return _read(path, identity())
        except (OSError, SafetensorError, ValueError, KeyError, TypeError):
            return None

    def keep(self, name: str, saved: Saved, identity: Identity) -> None:
        """Saves with the next one."""
        self._waiting[name] = saved, identity

    def write(self) -> None:
        """Writes all that waits; what a full disk has no room for is tried again later."""
        start = time.monotonic()
        with suppress(OSError, SafetensorError):
            self._folder.mkdir(parents=True, exist_ok=True)
            for name, (saved, identity) in list(self._waiting.items()):
                _write(self._path(name), saved, identity())
                del self._waiting[name]
        now = time.monotonic()
        self._due = now + min(_MOST_SECONDS, max(_LEAST_SECONDS, (now - start) / _SHARE))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"


class Saver:
    """One stack of models of a training."""

    def __init__(self, partial: Partial, name: str, identity: Identity) -> None:
        self._partial, self._name, self._identity = partial, name, identity

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return self._partial.due

    def found(self) -> Saved | None:
        """Returns how far the stack had come, or None."""
        return self._partial.read(self._name, self._identity)

    def save(self, step: int, state: State) -> None:
        """Saves the state after a step, and all stacks that have ended since the last time."""
        self._partial.keep(self._name, Saved(step, state), self._identity)
        self._partial.write()

    def ended(self, step: int, state: State) -> None:
        """Takes note of the end of a stack, which is saved when it is time."""
        self._partial.keep(self._name, Saved(step, state), self._identity)
        if self.due:
            self._partial.write()


def _write(path: Path, saved: Saved, identity: str) -> None:
    arrays = {name: _array(value) for name, value in saved.state.items()}
    strides = {n: v.stride() for n, v in saved.state.items() if not v.is_contiguous()}
    facts = {"step": saved.step, "identity": identity, "digest": _digest(arrays)}
    header = {"facts": json.dumps(facts | {"strides": strides})}
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        save_file(arrays, temporary, header)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _read(path: Path, identity: str) -> Saved | None:
    with safe_open(path, framework="numpy") as file:
        facts = json.loads(file.metadata()["facts"])
        if facts["identity"] != identity:
            return None
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if facts["digest"] != _digest(arrays):
        return None
    state = {name: torch.from_numpy(value) for name, value in arrays.items()}
    for name, strides in facts["strides"].items():
        # Kernels may round differently on another layout.
        state[name] = torch.empty_strided(
            state[name].shape, strides, dtype=state[name].dtype
        ).copy_(state[name])
    return Saved(int(facts["step"]), state)


def _array(value: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = value.detach().cpu().contiguous().numpy()
    return array


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].dtype} {arrays[name].shape}".encode())
        digest.update(np.ascontiguousarray(arrays[name]).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def identity_of(*facts: object, tensors: tuple[torch.Tensor, ...]) -> str:
    """Returns what tells a training from any other of its job, and of other software."""
    software = (_FORMAT, torch.__version__, torch.backends.cpu.get_cpu_capability())
    digest = hashlib.blake2b(repr((software, facts)).encode(), digest_size=16)
    digest.update(_digest({str(n): _array(tensor) for n, tensor in enumerate(tensors)}).encode())
    return digest.hexdigest()
