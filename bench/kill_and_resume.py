"""Kills a run and its workers at random moments, and compares the end with an undisturbed run.

    python -m bench.kill_and_resume --out /tmp/killed                # 100 kills, a grid made for it
    python -m bench.kill_and_resume --out /tmp/killed --grid my.yaml --kills 20

Every kill is SIGKILL to one process: mostly a worker on a job, now and then any worker, or the
runner, whose workers then end after the job they are on. A job whose worker is seen to die twice
fails, as it should: whenever a run ends, the next one is begun with --retry-failed. At the end

- the tables must be those of an undisturbed run, byte for byte;
- every start of a training but its last must have been cut short by a kill of the worker that was
  on it: nothing is trained twice for any other reason.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from dpbench.jobs.job_log import JobLog

TABLES = ("cells.parquet", "cells.csv", "attacks.parquet", "attacks.csv")
# Trainings of some ten seconds each on one quiet core: enough work for a hundred kills.
GRID: dict[str, Any] = {
    "name": "killed",
    "population": {"dataset": "letter", "pool": 2000, "test": 500, "reference": 500},
    "model": {"name": "mlp", "hidden": [64]},
    "recipe": {"epochs": 250, "batch_size": 32, "lr": 0.05},
    "models": 48,
    "defenses": [
        "none",
        {"l2": {"weight_decay": [0.0003, 0.001, 0.003, 0.01]}},
        {"label_smoothing": {"epsilon": [0.1, 0.3]}},
        {"dp_sgd": {"noise_multiplier": [0.5, 1.0]}},
        "distillation",
        "label_only",
    ],
    "attacks": ["gap", "malt", "lira", "rmia"],
}
# Trainings are saved every second here, so that kills seconds apart leave something to go on from.
PLUGIN = """
from dpbench.training import partial
partial._LEAST_SECONDS = 1.0
"""


class Evidence(NamedTuple):
    """What the logs say about trainings.

    Attributes:
        jobs: How many there are.
        starts: How often one was started.
        resumed: How many of these found something to go on from.
        unexplained: Starts that no kill explains.
        quarantined: Jobs, of any kind, that failed since their workers had died.
    """

    jobs: int
    starts: int
    resumed: int
    unexplained: int
    quarantined: int


class Victim:
    """A run that is killed, and killed again.

    Args:
        grid: The grid's file.
        out: The run's folder.
        workers: Worker processes.
    """

    def __init__(self, grid: Path, out: Path, *, workers: int) -> None:
        self.out, self.killed = out, set[int]()
        self.kills = Counter[str]()
        line = [sys.executable, "-m", "dpbench.cli", "run", str(grid), "--out", str(out)]
        self._command = [*line, "-j", str(workers), "--retry-failed"]
        self._said = out.with_name(f"{out.name}.log")
        self.runner = self._begin()

    def _begin(self) -> subprocess.Popen[bytes]:
        with self._said.open("ab") as file:
            return subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=file)

    def workers(self) -> list[int]:
        """Returns the runner's worker processes."""
        tasks = Path(f"/proc/{self.runner.pid}/task").glob("*/children")
        pids = {int(pid) for task in tasks for pid in task.read_text().split()}
        return sorted(pids - self.killed)

    def busy(self) -> list[int]:
        """Returns those that are on a job."""
        return [pid for pid in self.workers() if pid in self._claimants()]

    def _claimants(self) -> set[int]:
        found = set()
        for path in (self.out / "store" / "claims").glob("*"):
            try:
                claim = json.loads(path.read_text())
            except (OSError, ValueError):
                continue
            found.add(claim["pid"])
        return found

    def kill_worker(self, pid: int) -> None:
        """Kills a worker; the runner replaces it."""
        os.kill(pid, signal.SIGKILL)
        self.killed.add(pid)
        self.kills["worker"] += 1

    def done(self) -> int:
        """Returns how many kills there were."""
        return self.kills["worker"] + self.kills["runner"]

    def kill_runner(self) -> None:
        """Kills the runner and begins another run."""
        self.runner.kill()
        self.runner.wait()
        self.kills["runner"] += 1
        self.runner = self._begin()

    def over(self) -> bool:
        """Begins again if the run ended with failures; tells whether nothing is left to do.

        A run also ends when five of its workers died in a row without finishing a job.
        """
        code = self.runner.poll()
        if code is None or code == 0:
            return code == 0
        said = self._said.read_text(errors="replace")
        if code == 2 and "workers end before they finish a job" in said[-2000:]:
            self.kills["gave up"] += 1
        elif code != 1:
            raise RuntimeError(f"the run ended with exit code {code}: see {self._said}")
        self.runner = self._begin()
        return False

    def finish(self) -> None:
        """Waits until nothing is left to do."""
        while not self.over():
            time.sleep(0.5)

    def evidence(self) -> Evidence:
        """Returns what the logs say."""
        jobs = starts = resumed = quarantined = 0
        cut = Counter[int]()
        log = JobLog(self.out / "store" / "logs")
        for path in sorted((self.out / "store" / "logs").glob("*.jsonl")):
            entries = log.entries(path.stem)
            failed = [entry for entry in entries if entry["event"] == "failed"]
            quarantined += any("worker died" in entry["reason"] for entry in failed)
            begun = [entry for entry in entries if entry["event"] == "started"]
            if not begun or begun[0]["kind"] != "train":
                continue
            jobs += 1
            starts += len(begun)
            resumed += sum(entry["resumed"] for entry in begun)
            cut.update(entry["pid"] for entry in begun[:-1])
        # A worker that was killed cuts short what it started last, and nothing before.
        unexplained = sum(n - (pid in self.killed) for pid, n in cut.items())
        return Evidence(jobs, starts, resumed, unexplained, quarantined)


def same_tables(out: Path, undisturbed: Path) -> int:
    """Returns how many tables of two runs are the same."""
    pairs = ((out / name, undisturbed / name) for name in TABLES)
    return sum(one.read_bytes() == other.read_bytes() for one, other in pairs)


def kill_at_random(
    victim: Victim, kills: int, seconds: float, say: Callable[[str], None] = print
) -> None:
    """Kills a process at a random moment after one is on a job, until enough are killed.

    One kill in twenty is the runner's, and two are of any worker, which may have just been started.
    The others hit a worker on a job.
    """
    moments = random.SystemRandom()
    while victim.done() < kills:
        while not victim.busy():
            if victim.over():
                raise SystemExit(f"the grid is finished after {victim.done()} kills: too small")
            time.sleep(0.1)
        time.sleep(moments.uniform(0, 2 * seconds))
        which = moments.random()
        among = victim.workers() if which < 0.15 else victim.busy()
        if which < 0.05:
            victim.kill_runner()
        elif among:
            victim.kill_worker(moments.choice(among))
        else:
            continue
        if victim.done() % 10 == 0:
            found = len(list((victim.out / "store" / "objects").glob("*/*/record.json")))
            say(f"{dict(victim.kills)}, {found} jobs finished")


def prepared(folder: Path, grid: Path | None) -> Path:
    """Returns a grid that saves its trainings often."""
    folder.mkdir(parents=True, exist_ok=True)
    plugin = folder / "often.py"
    plugin.write_text(PLUGIN)
    if grid is not None:
        return grid
    path = folder / "killed.yaml"
    path.write_text(json.dumps(GRID | {"plugins": [str(plugin.resolve())]}))
    return path


def main() -> None:
    """Runs, kills, runs again; exits with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="a folder that is not there yet")
    parser.add_argument("--grid", type=Path)
    parser.add_argument("--undisturbed", type=Path, help="a finished run of the same grid")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument(
        "--seconds", type=float, default=3.0, help="from a job to a kill, on average"
    )
    parser.add_argument("-j", "--jobs", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.out.exists():
        parser.error(f"--out {arguments.out}: is there already")
    grid = prepared(arguments.out, arguments.grid)
    clean = arguments.undisturbed or arguments.out / "clean"
    begun = time.monotonic()
    if arguments.undisturbed is None:
        Victim(grid, clean, workers=arguments.jobs).finish()
        print(f"undisturbed: {time.monotonic() - begun:.0f} s", flush=True)
    begun = time.monotonic()
    victim = Victim(grid, arguments.out / "run", workers=arguments.jobs)
    kill_at_random(victim, arguments.kills, arguments.seconds, lambda line: print(line, flush=True))
    victim.finish()
    same, found = same_tables(victim.out, clean), victim.evidence()
    print(f"killed: {dict(victim.kills)}, in {time.monotonic() - begun:.0f} s from start to end")
    print(f"identical tables: {same} of {len(TABLES)}")
    print(
        f"trainings: {found.jobs}, started {found.starts} times, of which {found.resumed} went on"
    )
    print(f"starts that no kill explains: {found.unexplained}")
    print(f"jobs that were quarantined and run again: {found.quarantined}")
    sys.exit(same < len(TABLES) or found.unexplained > 0)


if __name__ == "__main__":
    main()
