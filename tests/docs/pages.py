"""The pages of the documentation, read as text: code blocks, links, headings."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]

_NOT_RUN = re.compile(r"<!-- not run: (\S.*) -->")
_OUTPUT = "<!-- output -->"
_LINK = re.compile(r"\[[^\]\[]*(?:\[[^\]]*\][^\]\[]*)*\]\(([^)\s]+)\)")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One fenced block of a page.

    Attributes:
        page: The file.
        line: Where its fence stands, from 1.
        language: The word behind the fence, or "".
        text: What it holds.
        not_run: Why it is not run, from the comment above it; None where there is none.
        is_output: Whether a comment above it says that it is what the block before printed.
    """

    page: Path
    line: int
    language: str
    text: str
    not_run: str | None = None
    is_output: bool = False

    def __str__(self) -> str:
        return f"{self.page.name}, line {self.line}"

    @property
    def file_name(self) -> str | None:
        """The file that the block is, if its first line is a comment that names one."""
        first = re.match(r"# ([\w-]+\.(?:py|yaml))\n", self.text)
        return first[1] if first else None


def example_pages() -> list[Path]:
    """Returns the pages whose blocks are run: the README and the pages right in docs."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def all_pages() -> list[Path]:
    """Returns every page that readers may follow links from."""
    return [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """Yields the fenced blocks of a page.

    Raises:
        ValueError: A fence is not closed.
    """
    lines = page.read_text(encoding="utf-8").splitlines()
    start: int | None = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        comment = _comment_above(lines, start)
        reason = _NOT_RUN.fullmatch(comment)
        yield Block(
            page=page,
            line=start + 1,
            language=lines[start].strip("`").strip(),
            text="\n".join(lines[start + 1 : number]) + "\n",
            not_run=reason[1] if reason else None,
            is_output=comment == _OUTPUT,
        )
        start = None
    if start is not None:
        raise ValueError(f"{page.name}, line {start + 1}: the fence is not closed")


def _comment_above(lines: list[str], fence: int) -> str:
    above = [line for line in lines[:fence] if line.strip()]
    return above[-1].strip() if above else ""


def prose(page: Path) -> str:
    """Returns a page without its fenced blocks."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE)


def indented_code(page: Path) -> list[str]:
    """Returns the first lines of code that `blocks` does not find.

    That is code by indentation alone, outside of lists, and fences that are indented or tildes.
    """
    lines = ["", *prose(page).splitlines()]
    found, in_list = [], False
    for before, line in pairwise(lines):
        if re.match(r"([-*]|\d+\.) ", line):
            in_list = True
        elif line and not line.startswith(" "):
            in_list = False
        by_indentation = not in_list and not before.strip() and re.match(r"( {4}|\t)\S", line)
        if by_indentation or re.match(r"\s+```|\s*~~~", line):
            found.append(line)
    return found


def links(page: Path) -> list[str]:
    """Returns the targets of a page's links and pictures that are not on the web."""
    targets = _LINK.findall(re.sub(r"`[^`]*`", "code", prose(page)))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """Returns the names that headings of a page can be linked by, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)|`", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}


def inline_commands(page: Path) -> list[str]:
    """Returns what a page's sentences quote that begins with `dpbench` and says more."""
    quoted = re.findall(r"`([^`]+)`", prose(page))
    return [" ".join(text.split()) for text in quoted if text.startswith("dpbench ")]
