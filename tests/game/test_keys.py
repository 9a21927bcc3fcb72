"""Every declared field of every kind of job changes its key."""

from dataclasses import fields, replace

import pytest

from dpbench.attacks import Gap
from dpbench.defenses import Composition, Dropout, LabelOnly
from dpbench.game.membership_game import MembershipGame
from dpbench.jobs.job import Job
from dpbench.models.mlp import MLP
from dpbench.study.plan import make_plan
from dpbench.training.recipe import Recipe
from dpbench.training.task import Mechanism
from tests.tiny import context_of

GRID = {
    "defenses": [
        "none",
        {"dp_sgd": {"noise_multiplier": 1.0, "epochs": 2}},
        "memguard",
        {"early_stopping": {"epochs": [2, 4]}},
    ],
    "attacks": ["malt", "lira", {"attack_d": {}}],
    "recipe": {"epochs": 6, "batch_size": 16, "lr": 0.1},
    "models": 4,
}


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return make_plan(context_of(tmp_path_factory.mktemp("keys"), **GRID))


@pytest.fixture(scope="module")
def by_kind(plan):
    """One job of each kind, the last one of a kind, which has the most inputs."""
    return {job.kind: job for job in plan.jobs.values()}


def another(value, others):
    """Returns a value of the same type that is not equal."""
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case MembershipGame():
            return replace(value, seed=value.seed + 1)
        case MLP():
            return MLP(hidden=(7,))
        case Recipe():
            return replace(value, lr=2 * value.lr)
        case Mechanism():
            return replace(value, noise_multiplier=3.0)
        case Composition():
            return Composition((*value.parts, LabelOnly()) if value.parts else (Dropout(),))
        case Job():
            return next(changes(value, others))[1]
        case None:
            return Mechanism(max_grad_norm=1.0)
        case tuple():
            return (*value, another(value[-1], others)) if value else (1,)
    if hasattr(value, "__dataclass_fields__"):
        return [
            replace(value, **{one.name: another(getattr(value, one.name), others)})
            for one in fields(value)
            if getattr(value, one.name) is not None
        ]
    raise AssertionError(f"no other value of {value!r}")


def changes(job, others):
    """Yields the job with one declared field changed, and that field's name."""
    for one in fields(job):
        if not one.metadata.get("keyed", True):
            continue
        value = getattr(job, one.name)
        if one.name == "attack":
            different = [Gap()]
        elif one.name == "students" and not value:
            different = [tuple(other for other in others if other.kind == "students")[:1]]
        else:
            different = another(value, others)
        for changed in different if isinstance(different, list) else [different]:
            yield one.name, replace(job, **{one.name: changed})


KINDS = "train", "fit_release", "observe", "students", "attack", "evaluate", "ensemble", "strongest"


def test_the_plan_has_every_kind(by_kind):
    assert set(by_kind) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_declared_field_changes_the_key(kind, by_kind, plan):
    job = by_kind[kind]
    seen = {job.key}
    names = set()
    for name, changed in changes(job, list(plan.jobs.values())):
        assert changed.key not in seen, f"{kind}.{name}"
        seen.add(changed.key)
        names.add(name)
    assert names == {one.name for one in fields(job) if one.metadata.get("keyed", True)}
    version = type(job).version
    try:
        type(job).version = version + 1
        assert replace(job).key not in seen
    finally:
        type(job).version = version


def test_parents_are_the_jobs_whose_results_are_read(plan):
    for job in plan.jobs.values():
        assert set(job.parents) <= plan.jobs.keys()
        if job.kind == "observe":
            assert {plan.jobs[key].kind for key in job.parents} <= {"train", "fit_release"}
        if job.kind == "attack":
            assert {plan.jobs[key].kind for key in job.parents} <= {"observe", "students"}
