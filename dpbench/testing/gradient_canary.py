"""A white-box audit of a private training: does it leak more than it claims?

Nasr et al. 2021, "Adversary Instantiation: Lower Bounds for Differentially Private Machine
Learning", and Nasr et al. 2023, "Tight Auditing of Differentially Private Machine Learning": the
adversary sees every iterate and knows everything but the bit, and the canary is the worst example
that there is. Then a tight mechanism shows nearly all that its accounting allows, and a broken one
shows more.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dpbench import privacy
from dpbench.arrays import Bools
from dpbench.defenses.base import Defense
from dpbench.defenses.composition import Composition
from dpbench.errors import UserError
from dpbench.metrics.roc import roc
from dpbench.metrics.thresholds import best_threshold
from dpbench.privacy import SampledGaussian
from dpbench.privacy.accounting.calibration import calibrate_advantage
from dpbench.privacy.audits.clopper_pearson import audit_clopper_pearson
from dpbench.privacy.audits.trials import Trials
from dpbench.testing.canary_game import canary_task, fair_coins
from dpbench.testing.canary_scores import log_likelihood_ratio, observe
from dpbench.training.fit import fit
from dpbench.training.recipe import Recipe
from dpbench.training.task import Mechanism, Snapshots, Task

if TYPE_CHECKING:
    from dp_accounting import DpEvent

Floats = NDArray[np.float64]
Trainer = Callable[[Task], Snapshots]
"""Trains a task's models from `architecture.build` and returns them at every checkpoint."""

_ERROR = 0.05
# One model in four chooses thresholds.
_CHOOSING = 4
# Less is no evidence of anything, and calibration does not go down to zero.
_LEAST_ADVANTAGE = 1e-3


class Evidence(NamedTuple):
    """What guessing the canary's membership from one statistic amounts to.

    Attributes:
        statistic: `gradient`: the noised gradients along the canary's. `noise`: the size of the
            noise where no example has a gradient.
        right: Right guesses.
        guesses: One guess for every model whose bit was not used to choose the threshold.
        advantage_lower: Lower confidence limit of TPR - FPR.
    """

    statistic: Literal["gradient", "noise"]
    right: int
    guesses: int
    advantage_lower: float


@dataclass(frozen=True, kw_only=True)
class MechanismAudit:
    """What was claimed, and what was seen.

    Attributes:
        models: Number K of trained models, each one independent trial.
        steps: Number T of optimizer steps that were taken.
        claimed: The claimed mechanism.
        delta: The delta of all epsilons.
        epsilon: What the claim amounts to.
        advantage: The largest TPR - FPR that the claim allows, its total variation.
        evidence: Of each statistic; together their limits hold with 95 % confidence.
        epsilon_lower_any: 95 % lower bound on epsilon for a mechanism of any kind, from FPR and FNR
            alone. Much below `epsilon_lower` for Gaussian noise.
        seconds: What the audit took.
    """

    models: int
    steps: int
    claimed: SampledGaussian
    delta: float
    epsilon: float
    advantage: float
    evidence: tuple[Evidence, ...]
    epsilon_lower_any: float
    seconds: float

    @property
    def strongest(self) -> Evidence:
        """The evidence with the largest limit."""
        return max(self.evidence, key=lambda one: one.advantage_lower)

    @property
    def violated(self) -> bool:
        """Whether the guesses are right more often than the claim allows.

        A training that keeps its claim is called a violation with probability 5 % at most, whatever
        its mechanism is. Where this holds, `epsilon_lower` is above `epsilon`.
        """
        return self.strongest.advantage_lower > self.advantage

    @property
    def epsilon_lower(self) -> float:
        """A 95 % lower bound on epsilon, for a mechanism of the claimed kind.

        The epsilon at the claimed rate and steps, and with as little noise as the advantage proves;
        rounded down by 0.1 %. inf where that is none at all.
        """
        return _epsilon_of_advantage(self.strongest.advantage_lower, self.claimed, self.delta)


def audit_mechanism(
    defense: Defense | Composition,
    *,
    models: int = 1000,
    engine: Literal["dense", "autograd"] = "dense",
    seed: int = 0,
    train: Trainer = fit,
    delta: float | None = None,
    recipe: Recipe | None = None,
    device: str = "cpu",
) -> MechanismAudit:
    """Trains many tiny models with and without a crafted example, and guesses which are which.

    Args:
        defense: Whose `adapt`, `prepare`, `loss`, `regularise` and `mechanism` are audited.
        models: Number of models.
        engine: The engine that `fit` trains with.
        seed: Everything follows from it.
        train: The training to audit; another implementation may be handed over.
        delta: The delta of the epsilons; left out, the claim's.
        recipe: What the defense adapts; left out, the default one.
        device: Torch device name.

    Raises:
        UserError: The defense does not claim a Gaussian mechanism, full batch or on Poisson
            samples.
        Diverged: A weight is not finite.
    """
    started = time.perf_counter()
    members = fair_coins(models, seed=seed)
    task = canary_task(
        defense, members, recipe=recipe or Recipe(), engine=engine, seed=seed, device=device
    )
    assert task.mechanism is not None
    claimed = _claimed(task.mechanism, steps=task.sampling.steps)
    delta = task.mechanism.delta if delta is None else delta
    observations = observe(task, train(task))
    scores = log_likelihood_ratio(observations, claimed.sampling_rate)
    evidence = (
        _evidence("gradient", scores > 0, members),
        _noise_evidence(observations.noise, members),
    )
    event = claimed.event()
    return MechanismAudit(
        models=models,
        steps=task.sampling.steps,
        claimed=claimed,
        delta=delta,
        epsilon=privacy.epsilon(event, delta),
        advantage=privacy.advantage(event),
        evidence=evidence,
        epsilon_lower_any=audit_clopper_pearson(
            Trials.independent(scores, members), delta=delta
        ).epsilon,
        seconds=time.perf_counter() - started,
    )


def _claimed(mechanism: Mechanism, *, steps: int) -> SampledGaussian:
    """Reads the claim as a Gaussian mechanism on Poisson samples, of rate 1 for full batches."""
    event: DpEvent | None = mechanism.claim
    if event is not None:
        sampled = SampledGaussian.of(event)
        mu = privacy.gaussian_mu(event)
        if sampled is not None:
            return sampled
        if mu is not None and 0 < mu < math.inf:
            count = int(getattr(event, "count", steps))
            return SampledGaussian(
                noise_multiplier=math.sqrt(count) / mu, sampling_rate=1.0, steps=count
            )
    raise UserError(
        f"the mechanism claims {event}, which cannot be audited",
        allowed="the event of a dpbench.SampledGaussian with noise",
    )


def _evidence(statistic: Literal["gradient", "noise"], guesses: Bools, members: Bools) -> Evidence:
    """Counts right guesses.

    The bits are fair coins, so a guess is right with probability (1 + TPR - FPR) / 2, which under
    the claim is at most (1 + total variation) / 2: the number of right guesses is binomial.
    """
    right = int(np.count_nonzero(guesses == members))
    wrong = members.size - right
    upper = float(privacy.clopper_pearson_upper(wrong, members.size, _ERROR / 2))
    return Evidence(statistic, right, members.size, max(0.0, 1 - 2 * upper))


def _noise_evidence(noise: Floats, members: Bools) -> Evidence:
    """Guesses from the noise alone, with the side and the threshold chosen on other models."""
    choosing = noise.size // _CHOOSING
    gains, cuts = [], []
    for side in (noise, -noise):
        curve = roc(side[:choosing], members[:choosing])
        cuts.append(best_threshold(curve))
        decisions = side[:choosing] >= cuts[-1]
        gains.append(np.count_nonzero(decisions == members[:choosing]))
    better = int(np.argmax(gains))
    guesses = (noise, -noise)[better][choosing:] >= cuts[better]
    return _evidence("noise", guesses, members[choosing:])


def _epsilon_of_advantage(advantage: float, claimed: SampledGaussian, delta: float) -> float:
    """Returns the least epsilon of a mechanism of the claimed kind that allows the advantage."""
    never_sampled = (1 - claimed.sampling_rate) ** claimed.steps
    if advantage < _LEAST_ADVANTAGE:
        return 0.0
    if advantage >= 1 - never_sampled:
        # More than without any noise: another kind of mechanism, and no sigma explains it.
        return math.inf
    sigma = calibrate_advantage(
        advantage=advantage, sampling_rate=claimed.sampling_rate, steps=claimed.steps
    )
    return privacy.epsilon(replace(claimed, noise_multiplier=sigma).event(), delta)
