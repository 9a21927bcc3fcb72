"""A plan of five jobs without the means to run them, and stores that hold some of their results."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dpbench.jobs.listing import Listed
from dpbench.jobs.store import Failure, Store

TRAIN, FIRST, SECOND, THIRD, BEST = "a0", "b1", "b2", "b3", "c0"
MEASURED = {"torch": "2.14", "device": "cpu", "seconds": 1.0}


def plan() -> dict[str, Listed]:
    """A training, three evaluations of it, and the best of those that have a result."""
    jobs = [
        Listed(TRAIN, "train", "train none", (), 10.0, False),
        *(Listed(key, "evaluate", f"evaluate {key}", (TRAIN,), 1.0, False) for key in EVALUATIONS),
        Listed(BEST, "evaluate", "best of 3", EVALUATIONS, 1.0, True),
    ]
    return {job.key: job for job in jobs}


EVALUATIONS = (FIRST, SECOND, THIRD)


def store_of(
    folder: Path, finished: Iterable[str], failed: Iterable[str] = (), **values: float
) -> Store:
    """Returns a store with results; a value says what a job found, if it is not 1."""
    store = Store(folder / "store")
    store.create()
    for key in finished:
        record = {"label": key, "measured": MEASURED, "value": values.get(key, 1.0)}
        store.publish(key, record, {"a": np.arange(4.0)})
    for key in failed:
        store.fail(key, Failure("failed", f"{key} broke"))
    return store
