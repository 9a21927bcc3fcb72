"""The jobs of a run as a file, which `status` reads without data, plans or torch."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from dpbench.jobs.job_states import PlannedJob
from dpbench.jobs.replace import replace_text

LISTING = "jobs.json"
"""The file in a run's folder."""


class Listed(NamedTuple):
    """One job as the file lists it; it cannot be run."""

    key: str
    kind: str
    label: str
    parents: tuple[str, ...]
    seconds: float
    tolerant: bool


def write_listing(jobs: Mapping[str, PlannedJob], folder: Path) -> None:
    """Writes the jobs of a plan, parents before children."""
    # Parents are row numbers: 100,000 jobs would repeat the 32 digits of each key many times.
    number = {key: index for index, key in enumerate(jobs)}
    rows = [
        [job.key, job.kind, job.label, [number[p] for p in job.parents], job.seconds, job.tolerant]
        for job in jobs.values()
    ]
    replace_text(folder / LISTING, json.dumps(rows, separators=(",", ":")))


def read_listing(folder: Path) -> dict[str, Listed]:
    """Returns the jobs that the last command on this folder planned, by key.

    Raises:
        FileNotFoundError: No command has planned it yet.
    """
    rows = json.loads((folder / LISTING).read_text(encoding="utf-8"))
    keys = [row[0] for row in rows]
    return {
        key: Listed(key, kind, label, tuple(keys[p] for p in parents), seconds, tolerant)
        for key, kind, label, parents, seconds, tolerant in rows
    }
