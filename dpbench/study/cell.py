"""What a plan is made of: cells, the rows of their attacks, and all jobs behind them."""

from dataclasses import dataclass
from typing import NamedTuple

from dpbench.attacks import Attack
from dpbench.defenses import Composition
from dpbench.game.attack import AttackJob
from dpbench.game.ensemble import EnsembleJob
from dpbench.game.evaluate import EvaluateJob
from dpbench.game.observe import ObserveJob
from dpbench.game.strongest import StrongestJob
from dpbench.game.train import TrainJob
from dpbench.jobs.job import Job
from dpbench.jobs.store import Store
from dpbench.study.spec import AVERAGE
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism


class AttackRow(NamedTuple):
    """One row of the attacks table.

    Attributes:
        attack: The attack, or None for the best one and the ensemble.
        knowledge: Which shadows it had.
        scores: The job that scored, or None for the best one and the ensemble.
        evaluate: The job with the row's numbers.
    """

    attack: Attack | None
    knowledge: str
    scores: AttackJob | None
    evaluate: EvaluateJob | StrongestJob | EnsembleJob

    @property
    def label(self) -> str:
        """The attack's id: its name and the fields that differ from the defaults."""
        return self.attack.label() if self.attack else self.name

    @property
    def name(self) -> str:
        """The attack's name, `best` or `ensemble`."""
        if isinstance(self.evaluate, EvaluateJob):
            assert self.attack is not None
            return self.attack.name
        return self.evaluate.name


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One defense at one strength: how it trains, what it claims, and the jobs behind its rows.

    `canary` is the same defense on the grid's canary track, with the same rows in the same order.
    """

    defense: Composition
    recipe: Recipe
    sampling: Sampling
    mechanism: Mechanism | None
    trains: tuple[TrainJob, ...]
    observe: ObserveJob
    rows: tuple[AttackRow, ...]
    track: str = AVERAGE
    canary: "Cell | None" = None

    def winner(self, row: AttackRow, store: Store, metric: str) -> AttackRow:
        """Returns the row of the attack that is strongest by a metric, of a finished `best` row."""
        return self.candidate(row, int(store.record(row.evaluate.key)["winners"][metric]))

    def candidate(self, row: AttackRow, number: int) -> AttackRow:
        """Returns the row of candidate `number` of a `best` or `ensemble` row."""
        assert isinstance(row.evaluate, StrongestJob | EnsembleJob)
        key = row.evaluate.candidates[number].key
        return next(
            other
            for other in self.rows
            if other.evaluate.key == key and other.knowledge == row.knowledge
        )

    @property
    def claims(self) -> bool:
        """Whether the mechanism claims differential privacy."""
        return self.mechanism is not None and self.mechanism.claim is not None


class Plan(NamedTuple):
    """All cells of a grid and all distinct jobs, parents before children."""

    cells: tuple[Cell, ...]
    jobs: dict[str, Job]
