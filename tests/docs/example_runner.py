"""Runs the examples of one page in their order, in one folder and one namespace."""

import doctest
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

from command_lines import check_words, commands
from pages import Block
from typer.testing import CliRunner

from dpbench.cli import app
from dpbench.errors import UserError
from dpbench.reproduction.expectation import read_paper
from dpbench.study.document import parse_text

_REST_OF_GRID = {
    "population": "{dataset: letter, pool: 200}",
    "defenses": "[none]",
    "attacks": "[gap]",
}


class PageRunner:
    """A reader who types in a page from its top, in an empty folder.

    Args:
        folder: The folder, which is the working directory and on the import path.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._module = ModuleType("typed_in")
        self._printed: str | None = None

    def run(self, block: Block) -> None:
        """Does with a block what its language asks for.

        Raises:
            AssertionError: It fails, or it can neither be run nor says why not.
        """
        actions = {
            "python": self._python,
            "pycon": self._session,
            "yaml": self._yaml,
            "sh": self._shell,
            "text": self._text,
        }
        assert block.language in actions, (
            f"the language '{block.language}' is none of {', '.join(actions)}; text is not run"
        )
        actions[block.language](block)

    def _python(self, block: Block) -> None:
        code = compile("\n" * block.line + block.text, block.page.name, "exec")
        if block.not_run:
            return
        if block.file_name:
            (self._folder / block.file_name).write_text(block.text)
            importlib.invalidate_caches()
            importlib.import_module(block.file_name.removesuffix(".py"))
            return
        sys.modules[self._module.__name__] = self._module
        exec(code, vars(self._module))

    def _session(self, block: Block) -> None:
        parser = doctest.DocTestParser()
        name = f"{block}"
        test = parser.get_doctest(block.text, vars(self._module), name, block.page.name, block.line)
        assert test.examples, "it has no >>> line"
        if block.not_run:
            return
        said: list[str] = []
        result = doctest.DocTestRunner(verbose=False).run(test, out=said.append, clear_globs=False)
        vars(self._module).update(test.globs)
        assert not result.failed, "".join(said)

    def _yaml(self, block: Block) -> None:
        document = parse_text(block.text, where=str(block))
        assert isinstance(document, dict), "it is not a mapping of keys"
        path = self._folder / (block.file_name or f"line-{block.line}.yaml")
        path.write_text(block.text)
        if block.not_run:
            return
        if "citation" in document:
            read_paper(path)
            return
        if not block.file_name:
            rest = (f"{key}: {value}" for key, value in _REST_OF_GRID.items())
            missing = (line for line in rest if line.partition(":")[0] not in document)
            path.write_text("\n".join([block.text, *missing]))
        self._dpbench(["plan", str(path)])

    def _shell(self, block: Block) -> None:
        self._printed = None
        for words in commands(block.text):
            check_words(words)
            if block.not_run:
                continue
            assert words[0] == "dpbench", (
                f"'{words[0]}' cannot be run by this test: write <!-- not run: WHY --> above"
            )
            self._printed = (self._printed or "") + self._dpbench(words[1:])

    def _text(self, block: Block) -> None:
        assert not re.search(r"^(dpbench|make|python) ", block.text, re.MULTILINE), (
            "it holds commands: its language is sh"
        )
        if not block.is_output:
            return
        assert self._printed is not None, "nothing was run whose output this could be"
        printed = {_squeezed(line) for line in self._printed.splitlines()}
        for line in block.text.splitlines():
            assert _squeezed(line) in printed | {"...", ""}, f"not printed: {line}"

    def _dpbench(self, words: list[str]) -> str:
        result = CliRunner().invoke(app, words)
        command = " ".join(["dpbench", *words])
        if isinstance(result.exception, UserError):
            raise AssertionError(f"{command}: {result.exception}")
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == 0, f"{command}: exit code {result.exit_code}: {result.output}"
        return result.output


def _squeezed(line: str) -> str:
    return " ".join(line.split())
