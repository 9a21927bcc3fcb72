"""Self-examination: does this installation compute what it should?"""

import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from dpbench.errors import UserError

_AUDITED_EPSILON = 8.0
_AUDITED_MODELS: dict[Literal["dense", "autograd"], int] = {"dense": 1000, "autograd": 500}
# Of the claimed epsilon. With these many models a right mechanism measures less once in 50,000
# audits (docs/white-box-audit.md).
_LEAST_SHARE = 0.25


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        check: What was checked.
        ok: Whether it is as it should be.
        detail: What was found.
    """

    check: str
    ok: bool
    detail: str


def examine(data_dir: Path | None) -> Iterator[Finding]:
    """Yields findings about versions, data, accounting and engines; takes a few seconds."""
    packages = ("torch", "torchvision", "opacus", "dp-accounting", "numpy", "pandas", "seaborn")
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    yield Finding("versions", "missing" not in versions, versions)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield Finding(
        "machine", True, f"Python {platform.python_version()}, {cores} cores, {_device()}"
    )
    yield _embedded_data()
    yield _downloaded_data(data_dir)
    yield _accounting()
    yield _engines()
    yield _writable()


def audit_engines() -> Iterator[Finding]:
    """Yields findings of a white-box audit of DP-SGD in both engines; takes about a minute.

    Thousands of tiny models are trained with and without a crafted example, whose membership is
    guessed from all iterates (docs/white-box-audit.md). An engine is not ok if it leaks more than
    it claims, if the audit measures so little that it must have lost its power, or if the audit
    misses half the noise.
    """
    from dpbench.defenses.dp_sgd import DpSgd
    from dpbench.testing import BrokenDpSgd, MechanismAudit, audit_mechanism

    # Two full-batch steps, and four on Poisson samples of half the examples.
    claimed = DpSgd(epsilon=_AUDITED_EPSILON, epochs=2.0)
    subsampled = DpSgd(epsilon=_AUDITED_EPSILON, epochs=2.0, batch_size=4)

    def described(audit: MechanismAudit) -> str:
        return (
            f"epsilon {audit.epsilon:.2f} claimed, at least {audit.epsilon_lower:.2f} measured "
            f"({audit.epsilon_lower / audit.epsilon:.0%}), {audit.models} models, "
            f"{audit.seconds:.0f} s"
        )

    for engine, models in _AUDITED_MODELS.items():
        for kind, defense in (("full batch", claimed), ("subsampled", subsampled)):
            audit = audit_mechanism(defense, engine=engine, models=models)
            if audit.violated:
                # By chance so is one right engine in forty: only two audits in a row are a verdict.
                audit = audit_mechanism(defense, engine=engine, models=models, seed=1)
            enough = audit.epsilon_lower >= _LEAST_SHARE * audit.epsilon
            detail = described(audit) + ("" if enough else ": too little, the audit has no power")
            yield Finding(f"{engine}, {kind}", enough and not audit.violated, detail)
        broken = BrokenDpSgd(claims=claimed, noise=0.5)
        audit = audit_mechanism(broken, engine=engine, models=models // 3)
        detail = described(audit) + ("" if audit.violated else ": not caught")
        yield Finding(f"{engine}, half the noise", audit.violated, detail)


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _device() -> str:
    import torch

    return torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"


def _embedded_data() -> Finding:
    from dpbench.data import PopulationSpec, load_population

    sizes = []
    try:
        for name in ("fashion_mnist", "letter", "adult"):
            spec = PopulationSpec(dataset=name, pool=1000, reference=1000)
            sizes.append(f"{name} {load_population(spec, seed=0, data_dir=None).shape}")
    except UserError as error:
        return Finding("embedded data", False, str(error))
    return Finding("embedded data", True, ", ".join(sizes))


def _downloaded_data(data_dir: Path | None) -> Finding:
    from dpbench.data import PopulationSpec, load_population

    present, absent = [], []
    for name in ("mnist", "cifar10", "location", "purchase100", "texas100"):
        try:
            spec = PopulationSpec(dataset=name, pool=100, reference=100, test=100)
            load_population(spec, seed=0, data_dir=data_dir)
            present.append(name)
        except UserError:
            absent.append(name)
    detail = f"present: {', '.join(present) or 'none'}; to download: {', '.join(absent) or 'none'}"
    return Finding("downloaded data", True, detail)


def _accounting() -> Finding:
    """DP-SGD at sigma 1, q .01, T 1000: epsilon 1.828 at 1e-5, total variation .1610."""
    from dpbench import privacy

    event = privacy.SampledGaussian(noise_multiplier=1.0, sampling_rate=0.01, steps=1000).event()
    epsilon, advantage = privacy.epsilon(event, 1e-5), privacy.advantage(event)
    ok = abs(epsilon - 1.828) < 2e-3 and abs(advantage - 0.1610) < 2e-4
    return Finding("accounting", ok, f"epsilon {epsilon:.3f}, advantage bound {advantage:.4f}")


def _engines() -> Finding:
    """Both engines must take the same clipped full-batch step from the same weights."""
    import torch

    from dpbench.models import MLP
    from dpbench.training.fit import AUTOGRAD, DENSE
    from dpbench.training.recipe import Recipe
    from dpbench.training.task import Mechanism, Task, TrainingData

    rng = np.random.default_rng(0)
    inputs = torch.from_numpy(rng.standard_normal((64, 8), dtype=np.float32))
    targets = torch.from_numpy(rng.integers(0, 3, 64))
    recipe = Recipe(epochs=3, sampling_rate=1.0, momentum=0.0)
    task = Task(
        architecture=MLP(hidden=(8,)),
        shape=(8,),
        n_classes=3,
        recipe=recipe,
        sampling=recipe.sampling(64),
        mechanism=Mechanism(max_grad_norm=0.5, noise_multiplier=0.0),
        loss=None,
        regularise=None,
        data=TrainingData(inputs, targets, inputs, targets),
        members=torch.ones(2, 64, dtype=torch.bool),
        seed=0,
        models=(0, 1),
        checkpoints=(3,),
    )
    one, other = DENSE.fit(task)[3], AUTOGRAD.fit(task)[3]
    gap = max(float((one[name] - other[name]).abs().max()) for name in one)
    return Finding("engines", gap < 1e-5, f"largest difference after 3 clipped steps: {gap:.1e}")


def _writable() -> Finding:
    try:
        with tempfile.TemporaryDirectory(dir=".") as folder:
            return Finding("folder", True, f"{Path(folder).parent.resolve()} can be written")
    except OSError as error:
        return Finding("folder", False, f"{Path.cwd()}: {error}")
