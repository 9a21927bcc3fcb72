"""Running one attack on one cell, with one kind of shadow."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from dpbench.attacks import Attack, NotApplicable, View
from dpbench.attacks.base import Floats, Ints
from dpbench.game.cost import REFERENCE_FLOPS, SECONDS_PER_SCORE
from dpbench.game.membership_game import MembershipGame
from dpbench.game.observed import Observed
from dpbench.game.students import StudentsJob
from dpbench.jobs.inputs import Inputs
from dpbench.jobs.job import Job, Output
from dpbench.seeds import rng_for


@dataclass(frozen=True, kw_only=True, eq=False)
class AttackJob(Job):
    """Scores every challenge point for every target; the result is `scores (M, n)` float32.

    Attributes:
        attack: The attack.
        target: What is attacked.
        shadows: What the adversary calibrates with.
        students: The jobs with every target's students, in the order of the targets.
        within_folds: A target's shadows are the others of its own fold (even or odd) alone. What
            is chosen by such scores on one fold knows no bit of the other (`metrics.thresholds`).
            Where a fold has too few models for the attack, the result is empty and says why.
    """

    kind: ClassVar[str] = "attack"
    version: ClassVar[int] = 1
    rank: ClassVar[int] = 4

    attack: Attack
    target: Observed
    shadows: Observed
    students: tuple[StudentsJob, ...] = ()
    within_folds: bool = False

    @property
    def game(self) -> MembershipGame:
        """The data and the bits behind the models."""
        return self.target.observe.game

    @property
    def extent(self) -> tuple[int, int]:
        """How many models and challenge points have scores: the first ones."""
        return self.attack.extent.of(self.target.models.n_models, self.game.challenges)

    @property
    def label(self) -> str:
        """What it does."""
        folds = " within folds" * self.within_folds
        return f"{self.attack.label()} on {self.target.observe.label}{folds}"

    @cached_property
    def seconds(self) -> float:
        """Scoring, and forward passes for all queries but the first."""
        pairs = math.prod(self.extent)
        flops = 2 * self.target.models.parameters * (self.attack.budget - 1) * pairs
        return SECONDS_PER_SCORE * pairs + flops / REFERENCE_FLOPS

    def run(self, inputs: Inputs) -> Output:
        """Attacks; raises NotApplicable where the setting lacks what the attack needs."""
        if self.within_folds:
            return self._run_within_folds(inputs)
        view = self.view(inputs)
        scores = self._scored(view)
        queries = view.target.queries * self.target.repeats + bool(self.students)
        return Output({"queries": queries}, {"scores": scores})

    def _run_within_folds(self, inputs: Inputs) -> Output:
        models, points = self.extent
        scores = np.empty((models, points), np.float32)
        for fold in (0, 1):
            try:
                scores[fold::2] = self._scored(self.view(inputs, np.arange(fold, models, 2)))
            except NotApplicable as reason:
                return Output({"reason": str(reason)}, {"scores": np.zeros((0, 0), np.float32)})
        return Output({}, {"scores": scores})

    def _scored(self, view: View) -> Floats:
        scores = np.asarray(self.attack.score(view))
        if scores.shape != view.members.shape:
            raise ValueError(f"scores have shape {scores.shape}, expected {view.members.shape}")
        if not np.isfinite(scores).all():
            raise ValueError("a score is NaN or infinite")
        return scores.astype(np.float32)

    def view(self, results: Inputs, models: Ints | None = None, *, instance: int = 0) -> View:
        """Returns what the adversary sees.

        Args:
            results: Where the models' weights and outputs are read.
            models: The targets, which are each other's shadows; by default all in the extent.
            instance: Another number draws other random numbers.
        """
        population, attack = self.game.population, self.attack
        count, points = self.extent
        models = np.arange(count) if models is None else models
        challenge = np.flatnonzero(population.challenge)[:points]
        target = self.target.oracle(results, attack, attack.access, models, points)
        shadows, access = target, attack.shadow_access or attack.access
        if self.shadows != self.target or access != attack.access:
            shadows = self.shadows.oracle(results, attack, access, models, points)
        return View(
            labels=population.pool_y[challenge],
            inputs=population.pool_x[challenge],
            n_classes=population.n_classes,
            target=target,
            shadows=shadows,
            members=self.game.challenge_members(self.target.models.n_models)[models, :points],
            reference_inputs=population.reference_x,
            reference_labels=population.reference_y,
            low=population.low,
            high=population.high,
            unit=population.unit,
            binary=population.binary,
            is_image=population.is_image,
            rng=rng_for(self.game.seed, "attack", attack.name, *[instance] * (instance > 0)),
            students=(lambda: self._students(results, models)) if self.students else None,
        )

    def _students(self, results: Inputs, models: Ints) -> Floats:
        return np.stack([results.array(self.students[m], "outputs") for m in models])
