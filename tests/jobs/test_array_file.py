"""Arrays that are written piece by piece have the bytes that the format's library writes."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from dpbench.game import released_models
from dpbench.jobs import array_file
from dpbench.jobs.array_file import SpooledRows, save_arrays
from dpbench.jobs.job_states import JobStates
from dpbench.study.plan import make_plan
from tests.tiny import context_of, work


@pytest.mark.parametrize("spooled", [0, 2**20])
@pytest.mark.parametrize("models", [1, 7])
def test_rows_in_blocks_have_the_bytes_of_one_array(tmp_path, monkeypatch, models, spooled):
    monkeypatch.setattr(array_file, "_SPOOLED_BYTES", spooled or 1)
    monkeypatch.setattr(array_file, "_PIECE_BYTES", 100)
    rng = np.random.default_rng(0)
    outputs = rng.random((models, 5, 3), dtype=np.float32)
    correct = rng.integers(256, size=(models, 4), dtype=np.uint8)
    rows = SpooledRows(tmp_path)
    for block in np.array_split(outputs, 3) if models > 1 else [outputs]:
        rows.append(block)
    save_arrays({"test_correct": correct, "outputs": rows}, tmp_path / "pieces")
    save_file({"test_correct": correct, "outputs": outputs}, tmp_path / "whole")
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pieces", "whole"]
    np.testing.assert_array_equal(load_file(tmp_path / "pieces")["outputs"], outputs)


def test_models_that_are_asked_in_blocks_give_the_same_results(tmp_path, monkeypatch):
    asked = {
        "defenses": ["none", {"rounding": {"digits": 1}}, {"noise": {"scale": 0.1}}],
        "attacks": ["gap", "malt", "lira", {"rmia": {"mode": ["online", "offline"]}}],
    }
    digests = []
    for folder, size in (("whole", 2**28), ("blocks", 5000)):
        monkeypatch.setattr(released_models, "_BLOCK_BYTES", size)
        context = context_of(tmp_path / folder, **asked)
        context.store.create()
        jobs = make_plan(context).jobs
        work(context, JobStates(jobs, context.store))
        digests.append({key: context.store.digest(key) for key in jobs if context.store.has(key)})
    assert len(digests[0]) == len(jobs)
    assert digests[0] == digests[1]
