"""Logs the events of each job: one JSON-lines file per job."""

import json
import os
import time
from pathlib import Path
from typing import Any

from dpbench.jobs.host import host_name


class JobLog:
    """The log folder of a store."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._host = folder, host_name()

    def path(self, key: str) -> Path:
        """Returns the log of a job."""
        return self._folder / f"{key}.jsonl"

    def add(self, key: str, event: str, **facts: Any) -> None:
        """Adds an entry: time, host, process, event, and facts about it."""
        entry = {"time": time.time(), "host": self._host, "pid": os.getpid(), "event": event}
        line = json.dumps(entry | facts) + "\n"
        # One write to a file opened for appending: lines of two processes do not mix.
        with self.path(key).open("a", encoding="utf-8") as file:
            file.write(line)

    def entries(self, key: str) -> list[dict[str, Any]]:
        """Returns the entries of a job, oldest first, without half-written ones."""
        try:
            lines = self.path(key).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found
