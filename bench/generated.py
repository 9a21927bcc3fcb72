"""The part of a page that a command writes, between two markers."""

from pathlib import Path

BEGIN = "<!-- generated: everything down to the next marker is overwritten by the command above -->"
END = "<!-- end of the generated part -->"


def replace_section(page: Path, text: str) -> None:
    """Replaces what stands between the markers of a page.

    Raises:
        ValueError: The page has no such markers, or more than one pair.
    """
    content = page.read_text(encoding="utf-8")
    if content.count(BEGIN) != 1 or content.count(END) != 1:
        raise ValueError(f"{page}: expected one pair of markers\n{BEGIN}\n{END}")
    before, rest = content.split(BEGIN)
    _, after = rest.split(END)
    page.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
