"""The site's navigation lists every page once, and CONTRIBUTING.md names files that exist."""

import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

import mkdocs_hooks

ROOT = Path(__file__).parents[2]


def pages(entry):
    if isinstance(entry, list):
        return [page for item in entry for page in pages(item)]
    if isinstance(entry, dict):
        return [page for item in entry.values() for page in pages(item)]
    return [entry]


def test_every_page_is_in_the_navigation_once():
    nav = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    listed = Counter(pages(mkdocs_hooks.expanded(nav)))
    assert set(listed.values()) == {1}
    docs = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    results = {path.relative_to(ROOT).as_posix() for path in (ROOT / "results").rglob("*.md")}
    reference = {path for path in results if path.startswith("results/reference/")}
    assert set(listed) == docs | reference | set(mkdocs_hooks.api_pages())


NAMED = re.findall(
    r"`((?:dpbench|docs|tests|bench)/[^`*]*)`", (ROOT / "CONTRIBUTING.md").read_text()
)


@pytest.mark.parametrize("path", sorted(set(NAMED)))
def test_what_contributing_names_exists(path):
    assert (ROOT / path).exists()
