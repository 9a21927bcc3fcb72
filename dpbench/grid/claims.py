"""Claims: which worker is on which job, so that two do not do the same work at once.

A claim is advice, not a lock. Work is idempotent, so stealing a claim whose owner only looked dead
costs time and nothing else.
"""

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

# A heartbeat this old means that its owner is gone, even on another machine with a skewed clock.
_BEAT_SECONDS = 5.0
_STALE_SECONDS = 60.0


class Claims:
    """The claims folder of a store, as seen by one process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        pid = os.getpid()
        self._owner = {"host": socket.gethostname(), "pid": pid, "born": _born(pid)}

    @contextlib.contextmanager
    def holding(self, key: str) -> Iterator[bool]:
        """Tries to claim a job; yields whether this process has it, and keeps the claim alive."""
        path = self._folder / key
        if not self._take(path):
            yield False
            return
        done = threading.Event()
        beat = threading.Thread(target=_keep_alive, args=(path, done), daemon=True)
        beat.start()
        try:
            yield True
        finally:
            done.set()
            beat.join()
            path.unlink(missing_ok=True)

    def owned_by(self, pid: int) -> list[str]:
        """Returns the jobs that a process of this machine claims."""
        owned = []
        for path in self._folder.iterdir():
            owner = _owner(path)
            if owner and owner.get("pid") == pid and owner.get("host") == self._owner["host"]:
                owned.append(path.name)
        return owned

    def active(self) -> set[str]:
        """Returns the jobs that a living worker claims."""
        return {path.name for path in self._folder.iterdir() if not self._is_stale(path)}

    def _take(self, path: Path) -> bool:
        for _ in range(2):
            try:
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                if not self._is_stale(path):
                    return False
                path.unlink(missing_ok=True)
                continue
            with os.fdopen(descriptor, "w") as file:
                json.dump(self._owner, file)
            return True
        return False

    def _is_stale(self, path: Path) -> bool:
        try:
            age = time.time() - path.stat().st_mtime
        except FileNotFoundError:
            return True
        owner = _owner(path)
        if owner and owner.get("host") == self._owner["host"]:
            return owner.get("born") != _born(int(str(owner.get("pid", 0))))
        return age > _STALE_SECONDS


def _owner(path: Path) -> dict[str, object] | None:
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) else None


def _born(pid: int) -> str:
    """Returns when a process of this machine started, or '' if it is gone; a reused pid differs."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _alive_without_proc(pid)
    # The command name may hold spaces and parentheses; field 22 counts from after the last one.
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _alive_without_proc(pid: int) -> str:
    if Path("/proc/self").exists():
        return ""
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"


def _keep_alive(path: Path, done: threading.Event) -> None:
    while not done.wait(_BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
