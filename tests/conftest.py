"""Strict numerics for every test: one thread, and a global generator nobody may lean on."""

import os
import pwd

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("ci", derandomize=True, deadline=None, max_examples=50)
settings.load_profile("ci")


@pytest.fixture(autouse=True)
def _global_randomness_is_unused():
    """Fails a test that advances a global generator: all randomness has a named generator."""
    torch_state, numpy_state = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    yield
    assert torch.equal(torch_state, torch.random.get_rng_state()), "torch's global RNG was used"
    assert np.array_equal(numpy_state, np.random.get_state()[1]), "NumPy's global RNG was used"  # noqa: NPY002


@pytest.fixture
def no_home(monkeypatch):
    """A user id without an account and without HOME, as in containers."""

    def unknown(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in ("HOME", "USER", "LOGNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
