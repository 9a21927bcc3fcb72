"""Do the published orderings hold here? Runs what is missing and prints one line per claim.

    python -m bench.claims [DIR]    # default results/claims-study; writes docs/claims.md

Every run is a grid of grids/claims*.yaml on one data set, kept in a folder of its own below DIR and
resumed where it stopped. A data set whose files are missing is left out and named.
"""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from bench.claims import (
    augmented,
    canaries,
    decay,
    few_models,
    labels,
    linear,
    masks,
    memguard,
    score_attacks,
    white_box,
)
from bench.claims.evidence import FAILS, HOLDS, OPEN, Line
from bench.claims.runs import Study
from bench.generated import replace_section

PAGE = Path("docs/claims.md")
NAMES = {
    "fashion_mnist": "Fashion-MNIST",
    "location": "Location-30",
    "adult": "Adult",
    "cifar10": "CIFAR-10",
}
PARTS = (
    score_attacks, masks, memguard, labels, linear, few_models, white_box, canaries, augmented,
    decay,
)  # fmt: skip


def main() -> None:
    """Runs the study."""
    torch.set_num_threads(1)
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "results/claims-study")
    study = Study(folder=folder, workers=2)
    started, found = time.monotonic(), []
    for line in _lines(study):
        found.append(line)
        print(_text(line), flush=True)
    text = f"{_summary(found)}\n\n{_table(found)}"
    replace_section(PAGE, text)
    print(f"\n{_summary(found)}\n{time.monotonic() - started:.0f} s")


def _lines(study: Study) -> Iterator[Line]:
    yield from linear.mean_estimation()
    yield from linear.naive_bayes()
    for data in study.available():
        for part in PARTS:
            yield from part.lines(study, data)


def _text(line: Line) -> str:
    name = NAMES.get(line.data, line.data)
    return f"{line.claim:4g} {name:13} {line.verdict:14} {line.statement}: {line.numbers}"


def _summary(found: list[Line]) -> str:
    counts = ", ".join(
        f"{sum(line.verdict == verdict for line in found)} {word}"
        for verdict, word in ((HOLDS, "hold"), (FAILS, "fail"), (OPEN, "are not resolvable"))
    )
    return f"{len(found)} lines: {counts}."


def _table(found: list[Line]) -> str:
    rows = ["| # | claim | data | measured | verdict |", "|---|---|---|---|---|"]
    last = ""
    for line in sorted(found, key=lambda one: (one.claim, one.statement)):
        statement = "" if line.statement == last else line.statement
        last = line.statement
        verdict = line.verdict if line.verdict == HOLDS else f"**{line.verdict}**"
        cells = (
            f"{int(line.claim)}" if statement else "",
            statement,
            NAMES.get(line.data, line.data),
            line.numbers,
            verdict,
        )
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
