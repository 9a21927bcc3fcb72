"""Tries many wrong files: each must be read, or be refused with a message, never a traceback.

    python -m bench.hostile --cases 10000                # grids, score files, data files, archives
    python -m bench.hostile --cases 100 --kinds command  # through the command line: seconds each

Cases are seeded: a failure names the number that makes it again.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from bench.hostile.attempts import try_archive, try_data, try_grid, try_scores
from bench.hostile.command import try_command

ATTEMPTS: dict[str, Callable[[int, Path], str]] = {
    "grid": try_grid,
    "scores": try_scores,
    "data": try_data,
    "archive": try_archive,
    "command": try_command,
}


def attempt(kind: str, numbers: range, folder: Path, *, longest: float) -> int:
    """Tries the cases of one kind; returns how many ended otherwise, or took long."""
    found: Counter[str] = Counter()
    failed, slowest = 0, 0.0
    before = time.process_time()
    for number in numbers:
        started = time.process_time()
        try:
            found[ATTEMPTS[kind](number, folder)] += 1
        except Exception as error:
            failed += 1
            print(f"{kind} {number}: {type(error).__name__}: {error}"[:500], flush=True)
        seconds = time.process_time() - started
        slowest = max(slowest, seconds)
        if seconds > longest:
            failed += 1
            print(f"{kind} {number}: {seconds:.0f} s", flush=True)
    spent = time.process_time() - before
    print(
        f"{kind}: {len(numbers)} cases, {json.dumps(found)}, {failed} failed; "
        f"processor {spent:.0f} s, slowest {slowest:.1f} s",
        flush=True,
    )
    return failed


def main() -> None:
    """Tries many cases of each kind; exits with 1 if any ends otherwise, or takes long."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--longest", type=float, default=10.0, help="processor seconds for a case")
    parser.add_argument(
        "--kinds", nargs="+", choices=list(ATTEMPTS), default=["grid", "scores", "data", "archive"]
    )
    arguments = parser.parse_args()
    numbers = range(arguments.first, arguments.first + arguments.cases)
    failed = 0
    for kind in arguments.kinds:
        with tempfile.TemporaryDirectory() as name:
            failed += attempt(kind, numbers, Path(name), longest=arguments.longest)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
