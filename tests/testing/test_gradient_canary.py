"""The white-box audit: what it recovers, what it concludes, and that it rarely cries wolf."""

import math
from dataclasses import dataclass, replace

import dp_accounting
import numpy as np
import pytest
import torch
from scipy.stats import binomtest, kstest

from dpbench import UserError, doctor, privacy, testing
from dpbench.defenses import L2, Composition, Defense, Undefended
from dpbench.defenses.dp_sgd import DpSgd
from dpbench.testing.broken_dp_sgd import train_plainly
from dpbench.testing.canary_game import BACKGROUND, canary_task, fair_coins
from dpbench.testing.canary_scores import Observations, log_likelihood_ratio, observe
from dpbench.testing.gradient_canary import Evidence, MechanismAudit, audit_mechanism
from dpbench.training.fit import fit
from dpbench.training.recipe import Recipe
from dpbench.training.task import Mechanism

SIZES = {"dense": 800, "autograd": 60}
FULL = DpSgd(epsilon=8.0, epochs=2.0)
SUBSAMPLED = DpSgd(epsilon=8.0, epochs=2.0, batch_size=4)


def game(defense, *, engine="dense", models=None, seed=0, recipe=None):
    members = fair_coins(models or SIZES[engine], seed=seed)
    recipe = recipe or Recipe()
    task = canary_task(defense, members, recipe=recipe, engine=engine, seed=seed)
    return task, members


def seen(defense, **options):
    task, members = game(defense, **options)
    return observe(task, fit(task)), members, task


def same_distribution(values, other):
    """Whether 4-sigma intervals of mean and variance agree with the expected ones."""
    mean, variance = other
    n = values.size
    kurtosis = np.mean((values - values.mean()) ** 4)
    assert abs(values.mean() - mean) < 4 * math.sqrt(variance / n)
    assert abs(values.var() - variance) < 4 * math.sqrt((kurtosis - variance**2) / n)


@pytest.mark.parametrize("engine", ["dense", "autograd"])
@pytest.mark.parametrize(("rate", "momentum"), [(1.0, 0.9), (0.25, 0.0)])
def test_recovered_gradients_are_those_of_the_claimed_mechanism(engine, momentum, rate):
    defense = DpSgd(
        noise_multiplier=0.8,
        epochs=8 * rate,
        batch_size=None if rate == 1 else round(rate * BACKGROUND),
        momentum=momentum,
        max_grad_norm=0.1 if momentum else 2.0,
    )
    observations, members, task = seen(defense, engine=engine)
    assert task.sampling.rate == rate
    assert task.sampling.steps == 8
    assert observations.shifts.min() > 0.99
    shift = observations.shifts.mean()
    same_distribution(observations.projections[~members], (0.0, 0.8**2))
    mixture = 0.8**2 + shift**2 * rate * (1 - rate)
    same_distribution(observations.projections[members], (rate * shift, mixture))
    assert observations.noise.mean() == pytest.approx(0.8**2, rel=0.02)
    if rate == 1:
        standard = (observations.projections - observations.shifts * members[:, None]) / 0.8
        assert kstest(standard.ravel(), "norm").pvalue > 1e-3


@pytest.mark.parametrize("engine", ["dense", "autograd"])
def test_the_canary_enters_each_batch_with_the_sampling_rate(engine):
    quiet = DpSgd(noise_multiplier=0.05, epochs=3.0, batch_size=3)
    observations, members, task = seen(quiet, engine=engine)
    entered = observations.projections > 0.5
    assert not entered[~members].any()
    mine = entered[members]
    assert binomtest(int(mine.sum()), mine.size, task.sampling.rate).pvalue > 1e-3
    # Steps are independent: the counts of the models are as spread as a binomial's.
    counts = mine.sum(1)
    expected = task.sampling.steps * task.sampling.rate * (1 - task.sampling.rate)
    deviation = expected * math.sqrt(2 / counts.size)
    assert abs(counts.var() - expected) < 4 * deviation


def test_nobody_but_the_canary_has_a_gradient_where_the_adversary_looks():
    task, _ = game(FULL, models=1)
    network = task.architecture.build(task.shape, task.n_classes, torch.Generator())
    norms = {}
    for row in range(BACKGROUND + 1):
        network.zero_grad()
        outputs = network(task.data.inputs[row : row + 1])
        assert torch.allclose(outputs, torch.zeros(1, 2), atol=1e-5)
        torch.nn.functional.cross_entropy(outputs, task.data.targets[row : row + 1]).backward()
        norms[row] = {name: float(p.grad.norm()) for name, p in network.named_parameters()}
    canary = norms.pop(BACKGROUND)
    for background in norms.values():
        assert background["3.bias"] > 0
        assert not any(value for name, value in background.items() if name != "3.bias")
    first = math.hypot(canary["1.weight"], canary["1.bias"])
    assert first == pytest.approx(canary["3.weight"], rel=0.01)
    assert math.hypot(first, canary["3.weight"]) == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize("norm", [1e-3, 1.0, 1e3])
def test_the_canary_stays_clipped_at_every_clipping_norm(norm):
    observations, *_ = seen(replace(FULL, max_grad_norm=norm), models=200)
    assert observations.shifts.min() > 0.99
    variance = 2 / privacy.mu_gaussian(8.0, 1e-5) ** 2
    assert observations.noise.mean() == pytest.approx(variance, rel=0.02)


@dataclass(frozen=True, kw_only=True)
class Pull(Defense):
    """Pulls every weight towards one."""

    def regularise(self, weights):
        return 1e-3 * sum((value - 1).square().flatten(1).sum(1) for value in weights.values())


def test_momentum_decay_penalty_and_schedule_are_undone():
    @dataclass(frozen=True, kw_only=True)
    class Scheduled(DpSgd):
        def adapt(self, recipe):
            return replace(DpSgd.adapt(self, recipe), schedule="cosine")

    plain = DpSgd(noise_multiplier=1.0, epochs=6.0)
    busy = Composition(
        (Scheduled(noise_multiplier=1.0, epochs=6.0, momentum=0.8), L2(weight_decay=1.0), Pull())
    )
    expected, *_ = seen(plain, models=50)
    observations, _, task = seen(busy, models=50)
    assert task.regularise is not None
    np.testing.assert_allclose(observations.noise, expected.noise, rtol=1e-3)
    np.testing.assert_allclose(observations.projections, expected.projections, atol=0.1)


@pytest.mark.parametrize("rate", [1.0, 0.3])
def test_the_score_is_the_log_likelihood_ratio(rate):
    rng = np.random.default_rng(0)
    observations = Observations(
        projections=rng.normal(size=(20, 5)),
        shifts=rng.uniform(0.5, 1.0, size=(20, 5)),
        noise=rng.uniform(0.5, 2.0, size=20),
    )

    def density(value, mean, variance):
        return math.exp(-((value - mean) ** 2) / (2 * variance)) / math.sqrt(variance)

    for row, score in enumerate(log_likelihood_ratio(observations, rate)):
        variance, expected = observations.noise[row], 0.0
        pairs = zip(observations.projections[row], observations.shifts[row], strict=True)
        for value, shift in pairs:
            out, inside = density(value, 0, variance), density(value, shift, variance)
            expected += math.log(((1 - rate) * out + rate * inside) / out)
        assert score == pytest.approx(expected)


def test_a_right_mechanism_is_rarely_flagged_by_the_plain_loop():
    flagged = [
        audit_mechanism(defense, models=150, seed=seed, train=train_plainly).violated
        for defense in (FULL, replace(FULL, epsilon=1.0))
        for seed in range(50)
    ]
    # The binomial limit errs in 2.5 % of the audits at most.
    assert sum(flagged) <= 5


@pytest.mark.parametrize("defense", [FULL, SUBSAMPLED], ids=["full", "subsampled"])
def test_a_right_engine_is_rarely_flagged(defense):
    flagged = [audit_mechanism(defense, models=100, seed=seed).violated for seed in range(20)]
    assert sum(flagged) <= 1


@pytest.mark.parametrize("engine", ["dense", "autograd"])
@pytest.mark.parametrize("defense", [FULL, SUBSAMPLED], ids=["full", "subsampled"])
def test_the_measured_epsilon_is_close_to_the_claimed_one(engine, defense):
    models = 1500 if engine == "dense" else 150
    audit = audit_mechanism(defense, models=models, engine=engine, seed=1)
    assert audit.epsilon == pytest.approx(8.0, rel=1e-3)
    least = 0.7 if engine == "dense" else 0.3
    assert least * audit.epsilon < audit.epsilon_lower <= audit.epsilon
    assert 0 < audit.epsilon_lower_any < audit.epsilon_lower
    assert audit.strongest.statistic == "gradient"
    assert audit.strongest.guesses == models


def test_the_limit_is_that_of_the_binomial():
    audit = audit_mechanism(FULL, models=400, seed=1)
    gradient = audit.evidence[0]
    low = binomtest(gradient.right, 400).proportion_ci(0.95, "exact").low
    assert gradient.advantage_lower == pytest.approx(2 * low - 1, abs=1e-9)
    mu = 2 * float(torch.special.ndtri(torch.tensor(low, dtype=torch.float64)))
    assert audit.epsilon_lower == pytest.approx(privacy.epsilon_gaussian(1e-5, mu), rel=1e-3)


def test_equal_seeds_give_equal_audits():
    some, others = (audit_mechanism(FULL, models=60, seed=4) for _ in range(2))
    assert replace(some, seconds=0.0) == replace(others, seconds=0.0)
    assert replace(some, seconds=0.0) != replace(
        audit_mechanism(FULL, models=60, seed=5), seconds=0.0
    )


def test_a_defense_with_a_loss_of_its_own_can_be_audited():
    @dataclass(frozen=True, kw_only=True)
    class Doubled(Defense):
        def loss(self, logits, targets):
            return 2 * Defense.loss(self, logits, targets)

    audit = audit_mechanism(Composition((FULL, Doubled())), models=600)
    assert 0.5 * audit.epsilon < audit.epsilon_lower <= audit.epsilon


@dataclass(frozen=True, kw_only=True)
class Claims(Defense):
    """A mechanism of sigma 1, and some claim."""

    kind_of_claim: str

    def mechanism(self, sampling):
        gaussian = dp_accounting.GaussianDpEvent(1.0)
        claims = {
            "none": None,
            "without privacy": dp_accounting.NonPrivateDpEvent(),
            "laplace": dp_accounting.LaplaceDpEvent(1.0),
            "composed": dp_accounting.ComposedDpEvent([gaussian] * sampling.steps),
        }
        return Mechanism(
            max_grad_norm=1.0, noise_multiplier=1.0, claim=claims[self.kind_of_claim], delta=1e-5
        )


@pytest.mark.parametrize("claim", ["none", "without privacy", "laplace"])
def test_other_claims_are_refused(claim):
    with pytest.raises(UserError, match="cannot be audited"):
        audit_mechanism(Claims(kind_of_claim=claim), models=10)


def test_a_defense_without_mechanism_is_refused():
    with pytest.raises(UserError, match="none: it has no mechanism"):
        audit_mechanism(Undefended(), models=10)


def test_a_composition_of_gaussians_is_read_as_one():
    recipe = Recipe(epochs=3.0, sampling_rate=1.0)
    audit = audit_mechanism(Claims(kind_of_claim="composed"), models=300, recipe=recipe)
    assert audit.epsilon == pytest.approx(privacy.epsilon_gaussian(1e-5, math.sqrt(3)), rel=1e-6)
    assert audit.steps == 3
    assert not audit.violated


def fake_audit(*, advantage: float) -> MechanismAudit:
    claimed = privacy.SampledGaussian(noise_multiplier=1.0, sampling_rate=1.0, steps=1)
    return MechanismAudit(
        models=10,
        steps=1,
        claimed=claimed,
        delta=1e-5,
        epsilon=privacy.epsilon(claimed.event(), 1e-5),
        advantage=privacy.advantage(claimed.event()),
        evidence=(Evidence("gradient", 9, 10, advantage), Evidence("noise", 5, 10, 0.0)),
        epsilon_lower_any=0.0,
        seconds=1.0,
    )


def test_a_violation_is_an_advantage_above_the_claim():
    allowed = fake_audit(advantage=0.0).advantage
    for advantage in np.linspace(0.0, 0.99, 34):
        audit = fake_audit(advantage=float(advantage))
        assert audit.violated == (advantage > allowed) == (audit.epsilon_lower > audit.epsilon)
    assert fake_audit(advantage=1.0).epsilon_lower == math.inf


def test_the_doctor_judges_violations_lost_power_and_missed_controls(monkeypatch):
    def found(**advantage: float) -> list[bool]:
        def audited(defense, **_):
            kind = "honest" if isinstance(defense, DpSgd) else "broken"
            return fake_audit(advantage=advantage[kind])

        monkeypatch.setattr(testing, "audit_mechanism", audited, raising=False)
        return [finding.ok for finding in doctor.audit_engines()]

    assert found(honest=0.3, broken=0.6) == [True, True, True] * 2
    assert found(honest=0.5, broken=0.6) == [False, False, True] * 2
    assert found(honest=0.05, broken=0.6) == [False, False, True] * 2
    assert found(honest=0.3, broken=0.35) == [True, True, False] * 2


def test_the_doctor_finds_the_dense_engine_right(monkeypatch):
    monkeypatch.setattr(doctor, "_AUDITED_MODELS", {"dense": 1000})
    findings = list(doctor.audit_engines())
    assert [finding.ok for finding in findings] == [True] * 3, findings
