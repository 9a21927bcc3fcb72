"""Every link between the project's pages leads somewhere, and every page can be found."""

import pytest
from pages import ROOT, all_pages, anchors, links

from dpbench.component import REGISTRIES

DOCS = ROOT / "docs"
PAGES = [str(page.relative_to(ROOT)) for page in all_pages()]


@pytest.mark.parametrize("page", PAGES)
def test_links_resolve(page):
    source = ROOT / page
    for link in links(source):
        path, _, anchor = link.partition("#")
        target = (source.parent / path).resolve() if path else source
        assert target.exists(), f"{page} links to {link}, which does not exist"
        assert target.is_relative_to(ROOT), f"{page} links to {link}, outside of the project"
        if anchor:
            assert anchor in anchors(target), f"{page} links to {link}: no such heading"


def test_every_page_can_be_reached_from_the_index():
    reached, waiting = set(), [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md" or not page.is_file():
            continue
        reached.add(page)
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
    lost = sorted(str(page.relative_to(ROOT)) for page in set(DOCS.rglob("*.md")) - reached)
    assert not lost, f"link these from docs/README.md: {', '.join(lost)}"


@pytest.mark.parametrize("kind", ["attack", "defense"])
def test_every_component_has_its_page(kind):
    import dpbench.attacks
    import dpbench.defenses  # noqa: F401

    names = {n for n, cls in REGISTRIES[kind].items() if cls.__module__.startswith("dpbench.")}
    pages = {page.stem for page in (DOCS / f"{kind}s").glob("*.md")}
    assert names == pages


def test_links_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# A `b`: c\n[x](y.md#z) ![p](q/r.png) [[1]](s.md) [web](https://x.org) `[no](no.md)`\n"
        "```python\n[no](no.md)\n```\n"
    )
    assert links(page) == ["y.md#z", "q/r.png", "s.md"]
    assert anchors(page) == {"a-b-c"}
