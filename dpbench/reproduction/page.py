"""The page of a paper: Markdown, and the same lines as a table."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from dpbench.reproduction.expectation import Paper
from dpbench.reproduction.judge import Judged


def page(paper: Paper, lines: Sequence[Judged], *, origins: Mapping[str, str]) -> str:
    """Returns a paper's page.

    Args:
        paper: The paper.
        lines: Its verdicts.
        origins: For every grid, the command that runs it and its key.
    """
    counts = Counter(line.verdict for line in lines)
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    rows = [
        f"| {_cell(line.what)} | {_cell(line.source)} | {_cell(line.reported)} "
        f"| {_cell(line.ours)} | {line.verdict} | {_cell(line.note)} |"
        for line in lines
    ]
    sources = [f"- `{name}`: `{origin}`" for name, origin in origins.items()]
    return "\n".join(
        [
            f"# {paper.name}",
            "",
            f"{paper.citation}",
            "",
            f"**Here.** {paper.scale}",
            "",
            f"{summary}. Brackets are 95 % intervals for new models and new examples; differences "
            "within a run are paired.",
            "",
            "| what | source | reported | ours | verdict | note |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            "Runs:",
            "",
            *sources,
            "",
        ]
    )


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def table(papers: Mapping[str, Sequence[Judged]]) -> pd.DataFrame:
    """Returns the lines of all papers as one table."""
    rows = [{"paper": name, **line._asdict()} for name, lines in papers.items() for line in lines]
    return pd.DataFrame(rows, columns=["paper", *Judged._fields])
