"""A Slurm of two nodes on this machine, from Debian's packages, unpacked and not installed."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# The programs, and those of their libraries that a small Debian lacks.
_PACKAGES = (
    "slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "libslurm38", "libmunge2",
    "libhwloc15", "libjson-c5", "liblua5.1-0", "libyaml-0-2", "libnuma1", "libdbus-1-3",
)  # fmt: skip
_CONFIGURATION = """
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/none
CredType=cred/none
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/pgid
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/linear
SchedulerType=sched/builtin
ReturnToService=2
KillWait=5
PluginDir={libraries}/slurm-wlm
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
NodeName=n1 NodeAddr=127.0.0.1 NodeHostname={host} Port={ports[1]} CPUs=1
NodeName=n2 NodeAddr=127.0.0.1 NodeHostname={host} Port={ports[2]} CPUs=1
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def _unpack(folder: Path) -> Path:
    """Fetches the packages; skips the test where that is not possible."""
    packages, root = folder / "packages", folder / "root"
    packages.mkdir()
    try:
        fetched = _fetch(packages)
        if fetched.returncode != 0 and os.getuid() == 0:
            subprocess.run(["apt-get", "update"], capture_output=True)
            fetched = _fetch(packages)
    except FileNotFoundError:
        pytest.skip("no apt-get: Slurm comes from Debian 12's packages")
    if fetched.returncode != 0:
        pytest.skip(f"no Slurm packages: {fetched.stderr.strip().splitlines()[-1]}")
    for package in packages.iterdir():
        subprocess.run(["dpkg", "-x", str(package), str(root)], check=True)
    return root


def _fetch(folder: Path) -> subprocess.CompletedProcess[str]:
    line = ["apt-get", "download", *_PACKAGES]
    return subprocess.run(line, cwd=folder, capture_output=True, text=True)


class LoopbackSlurm:
    """A controller and two nodes, n1 and n2; `environment` is what its users need."""

    def __init__(self, folder: Path) -> None:
        root = _unpack(folder)
        self._programs = root / "usr" / "sbin"
        libraries = next((root / "usr" / "lib").glob("*/slurm-wlm")).parent
        self._configuration = folder / "slurm.conf"
        self.environment = {
            "SLURM_CONF": str(self._configuration),
            "PATH": f"{root / 'usr' / 'bin'}:{os.environ['PATH']}",
            "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'slurm-wlm'}",
        }
        text = _CONFIGURATION.format(
            folder=folder,
            host=socket.gethostname().partition(".")[0],
            libraries=libraries,
            ports=_free_ports(3),
            user=subprocess.check_output(["id", "-un"], text=True).strip(),
        )
        self._configuration.write_text(text)
        (folder / "state").mkdir()

    def start(self) -> None:
        """Starts it, and waits until both nodes take work."""
        self._daemons = {"controller": self._daemon("slurmctld-wlm", "-D")}
        for node in ("n1", "n2"):
            stepd = str(self._programs / "slurmstepd-wlm")
            self._daemons[node] = self._daemon("slurmd-wlm", "-D", "-N", node, "-d", stepd)
        deadline = time.monotonic() + 60
        while self.ask("sinfo", "--noheader", "--format=%T %D") != "idle 2\n":
            assert time.monotonic() < deadline, self._configuration.parent
            time.sleep(0.2)

    def ask(self, *words: str) -> str:
        """Returns what a program of Slurm says."""
        environment = os.environ | self.environment
        return subprocess.run(words, env=environment, capture_output=True, text=True).stdout

    def switch_off(self, node: str) -> None:
        """Ends a node and all that runs on it, as losing its power does."""
        self._daemons[node].kill()
        self._daemons[node].wait()
        for pid, variables in self._processes():
            if variables.get("SLURMD_NODENAME") == node:
                parent = _parent(pid)
                _kill(pid)
                if parent and "slurmstepd" in Path(f"/proc/{parent}/cmdline").read_text():
                    _kill(parent)

    def end(self) -> None:
        """Ends everything that is left."""
        for daemon in self._daemons.values():
            daemon.kill()
            daemon.wait()
        for pid, _ in self._processes():
            _kill(pid)

    def _daemon(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        line = [str(self._programs / program), *words]
        silent = subprocess.DEVNULL
        return subprocess.Popen(
            line, env=os.environ | self.environment, stdout=silent, stderr=silent
        )

    def _processes(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yields the processes of this Slurm, with their environments."""
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                pairs = (folder / "environ").read_text(errors="replace").split("\0")
                variables = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
                if variables.get("SLURM_CONF") == str(self._configuration):
                    yield int(folder.name), variables


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def _parent(pid: int) -> int:
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
