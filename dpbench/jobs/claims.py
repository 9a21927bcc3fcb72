"""Claims: which worker runs which job, so that two workers rarely do the same work.

A claim is advice, not a lock. Work is idempotent: taking over a claim whose owner only looked dead
costs time and changes no result.
"""

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from dpbench.jobs.host import host_name

# An owner on another machine counts as dead after twelve missed heartbeats: a file server that
# stalls for some seconds must not make living workers look dead.
_BEAT_SECONDS = 5.0
_STALE_SECONDS = 60.0


class Claim(NamedTuple):
    """The owner of a job.

    Attributes:
        key: The job.
        host: The machine's name, for people.
        machine: Identifies the processes that can see each other: one boot and one pid namespace.
        pid: The process.
        born: When the process started; a reused pid has another start.
        since: When the job started, by the owner's clock.
        token: Unique to this claim.
    """

    key: str
    host: str
    machine: str
    pid: int
    born: str
    since: float
    token: str


class Claims:
    """The claims folder of a store, as seen by one process.

    Args:
        folder: The folder.
        vanished: Called with each claim that this process takes over from a dead owner.
    """

    def __init__(
        self, folder: Path, *, vanished: Callable[[Claim], None] = lambda claim: None
    ) -> None:
        self._folder, self._vanished = folder, vanished
        self._host, self._machine = host_name(), _machine()

    @contextlib.contextmanager
    def holding(self, key: str) -> Iterator[bool]:
        """Tries to claim a job; yields whether it succeeded, and keeps the claim alive inside."""
        claim = self._take(key)
        if claim is None:
            yield False
            return
        done = threading.Event()
        beat = threading.Thread(target=_keep_alive, args=(self._folder / key, done), daemon=True)
        try:
            beat.start()
            yield True
        finally:
            done.set()
            # A signal may interrupt before the thread has started; joining it would then raise.
            if beat.ident is not None:
                beat.join()
            self.drop(claim)

    def owned_by(self, pid: int) -> list[Claim]:
        """Returns the claims of one process of this machine."""
        return [
            claim
            for claim in map(_read, self._paths())
            if claim and claim.pid == pid and claim.machine == self._machine
        ]

    def drop(self, claim: Claim) -> None:
        """Removes a claim, unless another process has taken it over."""
        path = self._folder / claim.key
        # Not atomic: a claim made between reading and unlinking is lost, and its job may run twice.
        present = _read(path)
        if present is not None and present.token == claim.token:
            path.unlink(missing_ok=True)

    def active(self) -> dict[str, Claim | None]:
        """Returns the claims of living workers by job; None for a claim that is being written."""
        return {path.name: _read(path) for path in self._paths() if self._is_alive(path)}

    def dead(self) -> list[Path]:
        """Returns the claims whose owners are dead."""
        return [path for path in self._paths() if not self._is_alive(path)]

    def _take(self, key: str) -> Claim | None:
        path = self._folder / key
        pid = os.getpid()
        claim = Claim(
            key, self._host, self._machine, pid, _born(pid), time.time(), uuid.uuid4().hex
        )
        # Two attempts: the second follows the removal of a dead owner's claim. A process that loses
        # this race as well leaves the job to the winner.
        for _ in range(2):
            try:
                # O_EXCL lets one process succeed, also on NFS since version 3 (open(2)).
                descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            except FileExistsError:
                if self._is_alive(path):
                    return None
                self._take_over(path)
                continue
            try:
                with os.fdopen(descriptor, "w") as file:
                    json.dump(claim._asdict(), file)
            except OSError:  # a claim without an owner would block the job until it is stale
                path.unlink(missing_ok=True)
                raise
            return claim
        return None

    def _take_over(self, path: Path) -> None:
        claim = _read(path)
        if claim is None:
            path.unlink(missing_ok=True)
        else:
            # The death is noted before the claim goes. If this process dies in between, another
            # notes it again under the same token, which counts once.
            self._vanished(claim)
            self.drop(claim)

    def _is_alive(self, path: Path) -> bool:
        claim = _read(path)
        # Here the process table is certain at once; of other machines only the heartbeat is known.
        if claim is not None and claim.machine == self._machine:
            return claim.born == _born(claim.pid)
        try:
            beat = path.stat().st_mtime
        except FileNotFoundError:
            return False
        return self.now() - beat <= _STALE_SECONDS

    def now(self) -> float:
        """Returns the time by the clock that stamps heartbeats, which may be a file server's."""
        # This machine's clock may be minutes off the server's, and live claims would look stale.
        # The probe is not in the claims folder, where it would count as a claim.
        probe = self._folder.with_name("tmp") / f"clock.{uuid.uuid4().hex}"
        try:
            probe.touch()
            return probe.stat().st_mtime
        except OSError:  # `status` may read a store that this user cannot write
            return time.time()
        finally:
            with contextlib.suppress(OSError):
                probe.unlink(missing_ok=True)

    def _paths(self) -> list[Path]:
        return sorted(self._folder.iterdir()) if self._folder.is_dir() else []


def _read(path: Path) -> Claim | None:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Claim(**{**fields, "pid": int(fields["pid"]), "since": float(fields["since"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _machine() -> str:
    """Identifies the processes that can see each other in /proc."""
    try:
        # Containers of one host share its boot id but not its process numbers.
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return socket.gethostname()


def _born(pid: int) -> str:
    """Returns when a process of this machine started, or '' if it has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return _alive_without_proc(pid)
    # The command name may hold spaces and parentheses; field 22 counts from after the last one.
    fields = stat.rpartition(")")[2].split()
    # A zombie has ended; its parent has not yet read the exit status.
    return "" if fields[0] == "Z" else fields[19]


def _alive_without_proc(pid: int) -> str:
    if Path("/proc/self").exists():
        return ""
    # Without /proc (macOS) a reused pid cannot be told from its predecessor.
    try:
        os.kill(pid, 0)
    except OSError:
        return ""
    return "alive"


def _keep_alive(path: Path, done: threading.Event) -> None:
    while not done.wait(_BEAT_SECONDS):
        with contextlib.suppress(OSError):
            os.utime(path)
