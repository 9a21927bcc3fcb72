"""Kills a run and its workers at random moments, and compares the end with an undisturbed run.

    python -m bench.kill_and_resume grids/default.yaml results/default --out /tmp/killed

Every kill is SIGKILL to the runner and all its workers at once. At the end, the tables must be
those of the undisturbed run byte for byte, and no job that was finished at a kill may have been
done again.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

TABLES = ("cells.parquet", "cells.csv", "attacks.parquet", "attacks.csv")


def main() -> None:
    """Runs, kills, runs again; exits with 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("grid")
    parser.add_argument("undisturbed", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--longest", type=float, default=150.0, help="seconds before a kill")
    arguments = parser.parse_args()
    command = [
        sys.executable,
        "-m",
        "dpbench.cli",
        "run",
        arguments.grid,
        "--out",
        str(arguments.out),
    ]
    moments, finished = random.SystemRandom(), dict[Path, int]()
    redone = 0
    for number in range(1, arguments.kills + 1):
        wait = moments.uniform(10, arguments.longest)
        interrupt(command, wait)
        now = records(arguments.out)
        redone += count_redone(finished, now)
        print(f"kill {number} after {wait:.0f} s: {len(now)} jobs finished so far", flush=True)
        finished = now
    code = subprocess.run(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode
    redone += count_redone(finished, records(arguments.out))
    same = [
        (arguments.out / name).read_bytes() == (arguments.undisturbed / name).read_bytes()
        for name in TABLES
    ]
    print(f"exit code {code}; identical tables: {sum(same)} of {len(same)}; jobs redone: {redone}")
    sys.exit(code or not all(same) or redone > 0)


def interrupt(command: list[str], wait: float) -> None:
    """Starts a run and kills it with all its workers after some seconds."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as run:
        time.sleep(wait)
        tasks = Path(f"/proc/{run.pid}/task").glob("*/children")
        children = [int(pid) for task in tasks for pid in task.read_text().split()]
        for pid in [*children, run.pid]:
            os.kill(pid, signal.SIGKILL)


def records(out: Path) -> dict[Path, int]:
    """When each finished job was published."""
    found = (out / "store" / "objects").glob("*/*/record.json")
    return {path: path.stat().st_mtime_ns for path in found}


def count_redone(before: dict[Path, int], after: dict[Path, int]) -> int:
    """How many finished jobs were published a second time."""
    return sum(after.get(path) != moment for path, moment in before.items())


if __name__ == "__main__":
    main()
