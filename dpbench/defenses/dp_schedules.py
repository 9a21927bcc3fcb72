"""The schedules of DP-SGD that are shipped: what was tuned, for which networks and data.

Full batches and clipping norm 1, so that a schedule is a number of steps and a learning rate for
every epsilon. docs/tuning.md says how each was found; the trials are in docs/tuning/.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dpbench.errors import UserError, suggest


class Tuned(NamedTuple):
    """What was found best at one epsilon: full batches, clipping norm 1."""

    epsilon: float
    steps: int
    lr: float


class Home(NamedTuple):
    """What a schedule was tuned for.

    Attributes:
        dataset: The data set.
        model: Label of the architecture.
        members: Expected members of a model.
        average_pool: Side of the blocks over which images are averaged.
        classes: The classes that are kept; none if all are.
    """

    dataset: str
    model: str
    members: int
    average_pool: int = 1
    classes: tuple[int, ...] = ()

    def __str__(self) -> str:
        """Says it in words."""
        pooled = f", average_pool={self.average_pool}" if self.average_pool > 1 else ""
        kept = f", classes={list(self.classes)}" if self.classes else ""
        return f"{self.model} on {self.dataset} ({self.members:,} members{pooled}{kept})"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One tuned schedule.

    Attributes:
        homes: What it was tuned for, together.
        points: What was found, by growing epsilon. Between two, logarithms are interpolated.
    """

    homes: tuple[Home, ...]
    points: tuple[Tuned, ...]

    def at(self, epsilon: float) -> Tuned:
        """Returns the schedule for an epsilon; beyond the ends, that of the end."""
        if epsilon >= self.points[-1].epsilon:
            return self.points[-1]._replace(epsilon=epsilon)
        grid = np.log([point.epsilon for point in self.points])
        lr = np.interp(math.log(epsilon), grid, np.log([point.lr for point in self.points]))
        steps = np.interp(math.log(epsilon), grid, [float(point.steps) for point in self.points])
        return Tuned(epsilon, round(float(steps)), math.exp(lr))


DEFAULT = "default"

SCHEDULES: Mapping[str, Schedule] = {
    DEFAULT: Schedule(
        homes=(Home("fashion_mnist", "mlp", 2500, average_pool=2),),
        points=(
            Tuned(0.1, 100, 0.1),
            Tuned(0.5, 100, 0.6),
            Tuned(1.0, 100, 1.35),
            Tuned(2.0, 100, 2.3),
            Tuned(4.0, 100, 4.3),
            Tuned(8.0, 100, 6.8),
            Tuned(16.0, 100, 10.0),
            Tuned(32.0, 100, 12.0),
            Tuned(100.0, 200, 15.0),
        ),
    ),
    "defenses": Schedule(
        homes=(Home("fashion_mnist", "mlp", 400, average_pool=2),),
        points=(
            Tuned(0.1, 200, 0.0115),
            Tuned(1.0, 200, 0.115),
            Tuned(8.0, 200, 0.44),
            Tuned(128.0, 200, 1.8),
        ),
    ),
    "tabular": Schedule(
        homes=(Home("adult", "mlp", 1000), Home("letter", "mlp", 1000)),
        points=(Tuned(1.0, 50, 1.9), Tuned(8.0, 100, 6.8), Tuned(128.0, 200, 15.0)),
    ),
    "location": Schedule(
        homes=(Home("location", "mlp", 1000),),
        points=(Tuned(1.0, 100, 0.225), Tuned(8.0, 25, 5.8), Tuned(128.0, 100, 10.5)),
    ),
}


def find_schedule(name: str, *, where: str) -> Schedule:
    """Returns a shipped schedule.

    Raises:
        UserError: There is none of that name.
    """
    if name not in SCHEDULES:
        raise UserError(
            f"{where}: unknown schedule '{name}'",
            allowed=", ".join(SCHEDULES),
            next_step=suggest(name, list(SCHEDULES)) or "leave it out, and give epochs and lr",
        )
    return SCHEDULES[name]
