"""Every code block of the README and the pages in docs runs, or says why not.

`python` and `pycon` (a session with its answers) run in one namespace per page, in an empty folder;
a block whose first line is `# NAME.py` or `# NAME.yaml` is also written there as that file. `yaml`
is planned as a grid, a part of one with the rest filled in, or read as an expectation. `sh` is run
if all of it is `dpbench`; its command lines are held against the real ones in any case. `text` is
no code, and under `<!-- output -->` it is what was printed by the commands before it.
`<!-- not run: WHY -->` above a block keeps it from being run.
"""

import sys
from pathlib import Path

import pytest
from command_lines import check_quoted
from example_runner import PageRunner
from pages import ROOT, Block, blocks, example_pages, indented_code, inline_commands

import dpbench.attacks
import dpbench.data
import dpbench.defenses
import dpbench.models  # noqa: F401
from dpbench.component import REGISTRIES

PAGES = [str(page.relative_to(ROOT)) for page in example_pages()]
RUN_AT_LEAST = 10
"""So many pages have something that is run: fewer, and blocks are overlooked."""


@pytest.fixture
def reader(tmp_path, monkeypatch):
    """A reader in an empty folder; what their files register is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    known = {kind: dict(registry) for kind, registry in REGISTRIES.items()}
    modules = set(sys.modules)
    yield PageRunner(tmp_path)
    for kind, registry in REGISTRIES.items():
        registry.clear()
        registry.update(known[kind])
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if name == "typed_in" or (file and Path(file).is_relative_to(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(reader, page):
    for block in blocks(ROOT / page):
        try:
            reader.run(block)
        except BaseException as error:
            error.add_note(f"in {page}, line {block.line}")
            raise


@pytest.mark.parametrize("page", PAGES)
def test_code_is_fenced_and_commands_in_sentences_exist(page):
    assert not indented_code(ROOT / page), "only fenced blocks are run"
    for text in inline_commands(ROOT / page):
        check_quoted(text)


def test_enough_is_run():
    runnable = {"python", "pycon", "yaml", "sh"}
    pages = [
        page
        for page in PAGES
        if any(b.language in runnable and not b.not_run for b in blocks(ROOT / page))
    ]
    assert len(pages) >= RUN_AT_LEAST, pages


BROKEN = {
    "an error": ("python", "1 / 0", ZeroDivisionError),
    "a syntax error": ("python", "def", SyntaxError),
    "a wrong answer": ("pycon", ">>> 1 + 1\n3", AssertionError),
    "an unknown defense": ("yaml", "defenses: [dp_sdg]", AssertionError),
    "an unknown key": ("yaml", "modles: 3", AssertionError),
    "an unknown command": ("sh", "dpbench rnu default", AssertionError),
    "an unknown option": ("sh", "dpbench plan default --jbos 2", AssertionError),
    "an unknown grid": ("sh", "dpbench plan defualt", AssertionError),
    "no choice": ("sh", "dpbench list atacks", AssertionError),
    "another program": ("sh", "ls", AssertionError),
    "commands as text": ("text", "dpbench run default", AssertionError),
    "no language": ("", "x = 1", AssertionError),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_example_is_noticed(reader, what):
    language, text, error = BROKEN[what]
    with pytest.raises(error):
        reader.run(Block(page=ROOT / "README.md", line=1, language=language, text=text + "\n"))


@pytest.mark.parametrize(
    "words", ["dpbench rnu x", "dpbench run x --jbos 2", "make gird", "python -m bench.sped"]
)
def test_what_is_not_run_must_still_exist(reader, words):
    block = Block(page=ROOT / "README.md", line=1, language="sh", text=words, not_run="long")
    with pytest.raises(AssertionError):
        reader.run(block)


def test_output_must_have_been_printed(reader):
    page = ROOT / "README.md"
    command = "dpbench bound --epsilon 1 --delta 0"
    reader.run(Block(page=page, line=1, language="sh", text=command))
    with pytest.raises(AssertionError, match="not printed"):
        reader.run(Block(page=page, line=5, language="text", text="B99\n", is_output=True))


def test_a_marker_needs_a_reason(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- not run: slow -->\n```sh\nls\n```\n<!-- not run: -->\n```sh\nls\n```\n")
    assert [block.not_run for block in blocks(page)] == ["slow", None]
    page.write_text("text\n\n    dpbench run default\n\n- item\n\n    of the list\n")
    assert indented_code(page) == ["    dpbench run default"]
    page.write_text("- item\n\n  ```sh\n  ls\n  ```\n\n~~~\nls\n~~~\n")
    assert len(indented_code(page)) == 4
