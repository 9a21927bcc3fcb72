"""What a plan is made of: cells, the rows of their attacks, and all jobs behind them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from dpbench.attacks import Attack
from dpbench.defenses import Composition
from dpbench.grid.attack_job import AttackJob
from dpbench.grid.best_job import BestJob
from dpbench.grid.ensemble_job import EnsembleJob
from dpbench.grid.evaluate_job import EvaluateJob
from dpbench.grid.job import Job
from dpbench.grid.observe_job import ObserveJob
from dpbench.grid.store import Store
from dpbench.grid.train_job import TrainJob
from dpbench.training.recipe import Recipe, Sampling
from dpbench.training.task import Mechanism


class Row(NamedTuple):
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
    evaluate: EvaluateJob | BestJob | EnsembleJob

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
    rows: tuple[Row, ...]
    canary: "Cell | None" = None

    def winner(self, row: Row, store: Store, metric: str) -> Row:
        """Returns the row of the attack that is strongest by a metric, of a finished `best` row."""
        return self.candidate(row, int(store.record(row.evaluate.key)["winners"][metric]))

    def candidate(self, row: Row, number: int) -> Row:
        """Returns the row of the attack that is number so many of a `best` or `ensemble` row."""
        assert isinstance(row.evaluate, BestJob | EnsembleJob)
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


def ordered(jobs: Iterable[Job]) -> dict[str, Job]:
    """Returns jobs, parents first; trainings lead, dearest first, so that cores stay busy."""
    rank = {"train": 0, "guard": 1, "observe": 2, "distil": 3, "attack": 4, "evaluate": 5}
    # Ensembles combine rows, and the best attack is chosen from rows and ensembles.
    last = {EnsembleJob: 1, BestJob: 2}
    in_order = sorted(
        jobs, key=lambda job: (rank[job.kind], last.get(type(job), 0), -job.seconds, job.key)
    )
    return {job.key: job for job in in_order}
