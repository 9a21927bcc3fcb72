"""Training and asking on a GPU: on one that is there, and on one that is pretended.

The pretended one computes with the CPU's numbers, so it must end with the CPU's bits; it refuses to
mix what is on either side, and counts what a GPU would have to be waited for.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from small_task import CLIP, IMAGE, SMALL_CNN, STEPS, TABLE, make_task
from trainings import NET, NOISY, RUNS, training

from dpbench.jobs.store import Store
from dpbench.study import execution
from dpbench.study.cell import Plan
from dpbench.study.context import Context
from dpbench.study.spec import read_grid
from dpbench.testing.pretended_gpu import Mixed, PretendedGpu, pretended_gpu
from dpbench.training.ensemble import Ensemble
from dpbench.training.fit import fit, logits
from dpbench.training.task import Snapshots, Task

ENGINES = ("dense", "autograd")
WAITED = {
    # Opacus draws the noise with a deviation that Python must know: C, after every step.
    ("autograd", "adaptive"): Counter({"aten._local_scalar_dense.default": 1}),
}
GRID = {
    "name": "there",
    "population": {"dataset": "letter", "pool": 60, "test": 40, "reference": 100},
    "model": {"name": "mlp", "hidden": [8]},
    "recipe": {"epochs": 4, "batch_size": 16, "lr": 0.1},
    "models": 4,
    "defenses": ["none", {"dp_sgd": {"epsilon": 8}}, "dmp", "hamp", "label_dp"],
    "attacks": ["gap", "lira", "matt", "nasr", "bayes_wb", "inverse_hessian", "merlin", "attack_d"],
}


@pytest.fixture(
    params=[
        "pretended",
        pytest.param(
            "real",
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(
                    not torch.cuda.is_available(), reason="no CUDA device on this machine"
                ),
            ],
        ),
    ]
)
def gpu(request: pytest.FixtureRequest) -> Iterator[PretendedGpu | None]:
    if request.param == "real":
        yield None
        return
    with pretended_gpu() as there:
        yield there


def there(task: Task) -> Task:
    return dataclasses.replace(task, device="cuda")


def assert_same(ours: Snapshots, theirs: Snapshots, *, within: float = 0.0) -> None:
    assert ours.keys() == theirs.keys()
    for step, weights in theirs.items():
        for name, value in weights.items():
            assert ours[step][name].device.type == "cpu"
            torch.testing.assert_close(ours[step][name], value, rtol=within, atol=within)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", RUNS)
def test_a_training_ends_with_the_bits_of_the_cpu(engine, name):
    task = training(engine, name)
    with pretended_gpu():
        ours = fit(there(task))
    assert_same(ours, fit(task))


@pytest.mark.parametrize("mechanism", [None, NOISY])
def test_a_convolution_does_so_too(mechanism):
    task = make_task(SMALL_CNN, IMAGE, mechanism=mechanism)
    with pretended_gpu():
        ours = fit(there(task))
    assert_same(ours, fit(task))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", RUNS)
def test_no_step_waits_for_the_gpu(engine, name):
    """Twice as many steps, all within the first epoch, wait as often."""

    def waits(steps: int) -> Counter[str]:
        task = training(engine, name, models=(0,), checkpoints=(steps,))
        sampling = task.sampling._replace(rate=0.1, batch=3.0, steps=steps, steps_per_epoch=100)
        recipe = dataclasses.replace(task.recipe, averaging=0.0)
        with pretended_gpu() as gpu:
            fit(there(dataclasses.replace(task, sampling=sampling, recipe=recipe)))
        return gpu.waits

    each = WAITED.get((engine, name), Counter())
    few, many = waits(5), waits(10)
    assert many == few + Counter({what: 5 * count for what, count in each.items()})


@pytest.mark.parametrize("engine", ENGINES)
def test_full_batches_give_the_cpus_weights(gpu, engine):
    """Nothing is drawn: a GPU's own random numbers do not matter."""
    task = training(engine, "noise", mechanism=CLIP)
    task = dataclasses.replace(task, sampling=task.sampling._replace(rate=1.0))
    net = dataclasses.replace(NET, dropout=0.0)
    task = dataclasses.replace(task, architecture=net)
    assert_same(fit(there(task)), fit(task), within=1e-4)


@pytest.mark.parametrize(("net", "shape"), [(NET, TABLE), (SMALL_CNN, IMAGE)])
def test_logits_are_the_cpus(gpu, net, shape):
    task = make_task(net, shape, models=(0, 1))
    models = Ensemble(task.network, fit(task)[STEPS])
    ours, theirs = (
        logits(dataclasses.replace(models, device=device), task.data.inputs)
        for device in ("cuda", "cpu")
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def run(folder: Path, device: str) -> tuple[Context, Plan]:
    folder.mkdir()
    (folder / "grid.yaml").write_text(json.dumps(GRID))
    grid = read_grid(folder / "grid.yaml")
    context = Context(grid=grid, store=Store(folder / "out" / "store"), device=device)
    plan = execution.prepare(context, folder / "out")
    outcome = execution.execute(
        context, plan, folder / "out", workers=0, report=lambda states: None
    )
    assert not outcome.failures
    return context, plan


def test_a_grid_runs_there(gpu, tmp_path):
    ours, plan = run(tmp_path / "there", "cuda")
    finished = [key for key in plan.jobs if ours.store.has(key)]
    kinds = {plan.jobs[key].kind for key in finished}
    assert {"train", "observe", "students", "attack", "evaluate"} <= kinds
    assert {ours.store.record(key)["measured"]["device"] for key in finished} == {"cuda"}
    if gpu is not None:
        theirs, _ = run(tmp_path / "here", "cpu")
        for key in finished:
            assert ours.store.digest(key) == theirs.store.digest(key), plan.jobs[key].label


def test_the_pretended_gpu_refuses_what_a_real_one_would():
    here = torch.ones(3)
    with pretended_gpu() as gpu:
        moved = here.to("cuda")
        with pytest.raises(Mixed):
            moved + here
        with pytest.raises(Mixed):
            here[moved.long()]
        with pytest.raises(Mixed):
            moved.numpy()
        with pytest.raises(Mixed):
            torch.rand(3, generator=torch.Generator(), device="cuda")
        assert (moved * 2 + torch.ones(())).device.type == "cuda"
        for made in (here.to(moved), moved.new_tensor([1.0]), torch.ones(3, device=moved.device)):
            assert (made + moved).device.type == "cuda"
        assert moved.cpu().device.type == here.device.type == "cpu"
        assert float(moved.sum()) == 3.0
        moved[moved > 2]
    assert gpu.waits["copy to the GPU"] == 2
    assert gpu.waits["copy to the CPU"] == 1
    assert gpu.waits["aten._local_scalar_dense.default"] == 1
    assert gpu.waits["aten.index.Tensor"] == 1
    assert np.array_equal(moved.numpy(), here.numpy())
