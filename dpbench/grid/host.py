"""The name of this machine, for logs and listings."""

import os
import socket


def host_name() -> str:
    """Returns what people call this machine: under Slurm the node, elsewhere the host."""
    return os.environ.get("SLURMD_NODENAME") or socket.gethostname()
