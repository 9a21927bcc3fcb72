"""The name of this machine, for logs and listings."""

import os
import socket
from pathlib import Path


def host_name() -> str:
    """Returns the name of this machine: the node under Slurm, elsewhere the host."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()


def resident_gb(pid: int) -> float:
    """Returns the resident memory of a process in GiB; 0 if the system does not show it."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30
