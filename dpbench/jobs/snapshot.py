"""How a run stands at one moment, for people and for programs."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from dpbench.jobs.claims import Claims
from dpbench.jobs.job_states import JobStates, Planned
from dpbench.jobs.replace import replace_text
from dpbench.jobs.store import Store

PROGRESS = "progress.json"
"""The file in a run's folder that is replaced while a command works on it."""


class Running(NamedTuple):
    """A job that a worker is on.

    Attributes:
        label: What it is.
        key: Its key.
        host: Where.
        pid: In which process.
        since: Since when, by that machine's clock; None while the claim is being written.
    """

    label: str
    key: str
    host: str
    pid: int
    since: float | None


def running(states: JobStates[Any], store: Store) -> list[Running]:
    """Returns the jobs of a states that living workers are on, the longest running first."""
    found = []
    for key, claim in Claims(store.root / "claims").active().items():
        job: Planned | None = states.jobs.get(key)
        if job is None or key in states.finished:
            continue
        if claim is None:
            found.append(Running(job.label, key, "?", 0, None))
        else:
            found.append(Running(job.label, key, claim.host, claim.pid, claim.since))
    return sorted(found, key=lambda one: one.since or time.time())


def snapshot(states: JobStates[Any], store: Store, *, seconds_left: float | None) -> dict[str, Any]:
    """Returns how a run stands, as its progress file and `--progress json` say it."""
    now = running(states, store)
    return {
        "time": time.time(),
        "jobs": len(states.jobs),
        "finished": len(states.finished),
        "running": [one._asdict() for one in now],
        "waiting": max(0, len(states.open) - len(now)),
        "failed": len(states.failed),
        "blocked": len(states.blocked),
        "seconds_left": seconds_left,
    }


def write_progress(document: Mapping[str, Any], folder: Path) -> None:
    """Replaces the progress file of a folder."""
    replace_text(folder / PROGRESS, json.dumps(document, indent=1) + "\n")


def read_progress(folder: Path) -> Mapping[str, Any]:
    """Returns what was last written, or nothing."""
    try:
        found = json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
