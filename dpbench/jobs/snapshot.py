"""The state of a run at one moment, for people and for programs."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dpbench.jobs.claims import Claims
from dpbench.jobs.job_states import JobStates, PlannedJob
from dpbench.jobs.replace import replace_text
from dpbench.jobs.store import Store

PROGRESS = "progress.json"
"""The file in a run's folder that commands replace while they work on it."""


class Running(NamedTuple):
    """A job that a worker is running.

    Attributes:
        label: What the job does.
        key: Its key.
        host: The worker's machine.
        pid: The worker's process.
        since: When the job started, by that machine's clock; None if the claim is incomplete.
    """

    label: str
    key: str
    host: str
    pid: int
    since: float | None


def running(states: JobStates[Any], store: Store) -> list[Running]:
    """Returns the jobs that living workers are running, longest first."""
    found = []
    for key, claim in Claims(store.root / "claims").active().items():
        job: PlannedJob | None = states.jobs.get(key)
        if job is None or key in states.finished:
            continue
        if claim is None:
            found.append(Running(job.label, key, "?", 0, None))
        else:
            found.append(Running(job.label, key, claim.host, claim.pid, claim.since))
    return sorted(found, key=lambda one: one.since or time.time())


def snapshot(states: JobStates[Any], store: Store, *, seconds_left: float | None) -> dict[str, Any]:
    """Returns the content of the progress file and of `--progress json`."""
    now = running(states, store)
    return {
        "time": time.time(),
        "jobs": len(states.jobs),
        "finished": len(states.finished),
        "running": [one._asdict() for one in now],
        # Claims are read after the states: a job that ended in between may be in one list only.
        "waiting": max(0, len(states.open) - len(now)),
        "failed": len(states.failed),
        "blocked": len(states.blocked),
        "seconds_left": seconds_left,
    }


def write_progress(document: Mapping[str, Any], folder: Path) -> None:
    """Replaces the progress file of a folder."""
    replace_text(folder / PROGRESS, json.dumps(document, indent=1) + "\n")


def read_progress(folder: Path) -> Mapping[str, Any]:
    """Returns what was last written; empty if nothing was."""
    try:
        found = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
